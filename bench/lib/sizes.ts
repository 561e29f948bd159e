import { type Bundle, bundle } from "./bundle.ts";

/** What each adapter's module gives, each a thing to import by itself. */
const adapters = {
  middy: { middy: "default" },
  lambda: { lockHandler: "lockHandler", lockRecords: "lockRecords" },
  fetch: { lockFetch: "lockFetch" },
  cloudflare: { workerFetch: "lockFetch", lockScheduled: "lockScheduled", lockQueue: "lockQueue" },
  hono: { hono: "lock" },
  schedule: { oncePerTick: "oncePerTick" },
} as const;

/** A part of the package whose size the README states, between `<!-- size:core -->` and `<!-- /size -->`. */
export type Part =
  | "core"
  | { [Module in keyof typeof adapters]: keyof (typeof adapters)[Module] }[keyof typeof adapters];

/** Each adapter's part, with its module and the name it has there. */
const exported = Object.entries(adapters).flatMap(([module, names]) =>
  Object.entries(names).map(([part, name]) => ({ part: part as Exclude<Part, "core">, module, name })),
);

const adapterLimit = 1_700;

/** What is wanted, in bytes, minified and gzipped: of an adapter, what it adds to the core. */
export const wanted = {
  /** The whole of `serverless-lock`, with its REST client and waiting. */
  core: 8_500,
  ...Object.fromEntries(exported.map(({ part }) => [part, adapterLimit])),
} as Record<Part, number>;

/** What was reached, in bytes: a part may not grow beyond it unnoticed. */
export const reached = {
  core: 15_500,
  middy: 2_900,
  lockHandler: 2_700,
  lockRecords: 2_500,
  lockFetch: 2_300,
  workerFetch: 2_400,
  lockScheduled: 1_300,
  lockQueue: 2_000,
  hono: 2_200,
  oncePerTick: 350,
} as const satisfies Record<Part, number>;

export interface Sizes {
  bytes: Record<Part, number>;
  core: Bundle;
  /** The core and all adapters. */
  all: Bundle;
  /** The same from the source, whose files it names. */
  source: Bundle;
}

/** Of the package as it was built. */
export async function measureSizes(): Promise<Sizes> {
  const code = (module: string, name: string, as: string) =>
    `export { ${name} as ${as} } from "./dist/adapters/${module}.js";`;
  const core = 'export * from "./dist/index.js";';
  const alone = await bundle(core);
  const bytes = { core: alone.gzipped } as Record<Part, number>;
  for (const { part, module, name } of exported) {
    bytes[part] = (await bundle(core + code(module, name, part))).gzipped - alone.gzipped;
  }
  const all = core + exported.map(({ part, module, name }) => code(module, name, part)).join("");
  const source = all.replace(/dist(.*?)\.js/g, "src$1.ts");
  return { bytes, core: alone, all: await bundle(all), source: await bundle(source) };
}

const marker = /(<!-- size:(\w+) -->)(.*?)(<!-- \/size -->)/g;

function kB(bytes: number): string {
  return `${(bytes / 1_000).toFixed(1)} kB`;
}

/** What the README gets wrong, in sentences: a figure it does not state, or states otherwise. */
export function wrongFigures(readme: string, bytes: Sizes["bytes"]): string[] {
  const stated = [...readme.matchAll(marker)].map(([, , part = "", figure = ""]) => ({ part, figure }));
  const unknown = stated
    .filter(({ part }) => !(part in bytes))
    .map(({ part }) => `README.md has a marker size:${part}, and there is no such part`);
  return Object.entries(bytes).reduce((wrong, [part, size]) => {
    const figures = stated.filter((each) => each.part === part).map(({ figure }) => figure);
    if (figures.length === 0) {
      wrong.push(
        `README.md states no size of ${part}: it needs <!-- size:${part} -->${kB(size)}<!-- /size -->`,
      );
    }
    for (const figure of figures.filter((each) => !agrees(each, size))) {
      wrong.push(
        `README.md says that ${part} has ${figure || "(nothing)"}, and it has ${kB(size)} (${size} bytes)`,
      );
    }
    return wrong;
  }, unknown);
}

/** One decimal is right to 50 bytes; another build of zlib makes a few bytes more or less. */
function agrees(figure: string, bytes: number): boolean {
  const [, amount] = /^(\d+\.\d) kB$/.exec(figure) ?? [];
  return amount !== undefined && Math.abs(Number(amount) * 1_000 - bytes) <= 60;
}

/** The README with the figures as measured between its markers. */
export function withFigures(readme: string, bytes: Sizes["bytes"]): string {
  return readme.replace(marker, (whole, open: string, part: string, _figure, close: string) =>
    part in bytes ? `${open}${kB(bytes[part as Part])}${close}` : whole,
  );
}
