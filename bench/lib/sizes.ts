import { type Bundle, bundle } from "./bundle.ts";
import { root } from "./report.ts";

/** One thing to import by itself, in bytes, minified and gzipped: what it adds to the core. */
interface Entry {
  /** Of `dist/` and `src/`. */
  module: string;
  /** Of its exports; `*` are all. */
  name: string;
  /** What is wanted. */
  wanted: number;
  /** What was reached: it may not grow beyond this unnoticed. */
  reached: number;
}

const adapters = {
  middy: { module: "adapters/middy", name: "default", wanted: 1_700, reached: 3_250 },
  lockHandler: { module: "adapters/lambda", name: "lockHandler", wanted: 1_700, reached: 2_950 },
  lockRecords: { module: "adapters/lambda", name: "lockRecords", wanted: 1_700, reached: 2_850 },
  lockFetch: { module: "adapters/fetch", name: "lockFetch", wanted: 1_700, reached: 2_600 },
  workerFetch: { module: "adapters/cloudflare", name: "lockFetch", wanted: 1_700, reached: 2_750 },
  lockScheduled: { module: "adapters/cloudflare", name: "lockScheduled", wanted: 1_700, reached: 1_500 },
  lockQueue: { module: "adapters/cloudflare", name: "lockQueue", wanted: 1_700, reached: 2_350 },
  hono: { module: "adapters/hono", name: "lock", wanted: 1_700, reached: 2_450 },
  oncePerTick: { module: "adapters/schedule", name: "oncePerTick", wanted: 1_700, reached: 480 },
} as const satisfies Record<string, Entry>;

const others = {
  singleFlight: { module: "single-flight/index", name: "*", wanted: 1_500, reached: 1_610 },
  idempotency: { module: "idempotency/index", name: "*", wanted: 3_500, reached: 3_650 },
  fence: { module: "fence/index", name: "*", wanted: 700, reached: 1_310 },
  webLocks: { module: "web-locks/index", name: "*", wanted: 2_000, reached: 4_200 },
  admin: { module: "admin/index", name: "*", wanted: 1_200, reached: 2_450 },
  page: { module: "page/index", name: "*", wanted: 30_000, reached: 9_500 },
  otel: { module: "otel/index", name: "*", wanted: 1_000, reached: 1_110 },
  emf: { module: "emf/index", name: "*", wanted: 800, reached: 650 },
  testing: { module: "testing/index", name: "*", wanted: 10_000, reached: 5_250 },
} as const satisfies Record<string, Entry>;

const entries: Record<string, Entry> = { ...adapters, ...others };

/** A part of the package whose size the README states, between `<!-- size:core -->` and `<!-- /size -->`. */
export type Part = "core" | keyof typeof adapters | keyof typeof others;

const figure = (of: "wanted" | "reached") =>
  Object.fromEntries(Object.entries(entries).map(([part, entry]) => [part, entry[of]]));

export const wanted = { core: 8_500, ...figure("wanted") } as Record<Part, number>;
export const reached = { core: 16_850, ...figure("reached") } as Record<Part, number>;

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
  const core = 'export * from "./dist/index.js";';
  const alone = await bundle(core);
  const bytes = { core: alone.gzipped } as Record<Part, number>;
  for (const [part, entry] of Object.entries(entries)) {
    bytes[part as Part] = (await bundle(core + (await code(part, entry)))).gzipped - alone.gzipped;
  }
  const added = await Promise.all(Object.entries(adapters).map(([part, entry]) => code(part, entry)));
  const all = core + added.join("");
  const source = all.replace(/dist(.*?)\.js/g, "src$1.ts");
  return { bytes, core: alone, all: await bundle(all), source: await bundle(source) };
}

/** Exports what an entry has, by names of its own. */
async function code(part: string, { module, name }: Entry): Promise<string> {
  const file = `./dist/${module}.js`;
  if (name !== "*") return `export { ${name} as ${part} } from "${file}";`;
  const names = Object.keys(await import(new URL(file, root).href));
  return `export { ${names.map((each) => `${each} as ${part}_${each}`).join(", ")} } from "${file}";`;
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
