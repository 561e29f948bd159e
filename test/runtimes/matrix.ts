import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { freePort } from "../helpers/redis-server.ts";
import { check, type Report, steps } from "./check.ts";
import { type Host, startHost } from "./host.ts";
import { installPackage } from "./package.ts";
import type { Runtime } from "./runtimes.ts";

/** What came out in one runtime. */
export interface Row {
  runtime: Runtime;
  reports: Report[];
}

/** As many at once: more would starve each other, and leases are short here. */
const lanes = 3;

/** Ms for one runtime: its longest step takes some 20 s, when it fails. */
const limit = 90_000;

/** Runs the package, as it is published, in each of the runtimes. What goes wrong in one is in its row. */
export async function runAll(chosen: readonly Runtime[]): Promise<Row[]> {
  await installPackage();
  const rows = chosen.map((runtime): Row => ({ runtime, reports: [] }));
  // A build takes all there is of a machine, so none runs beside a lock.
  for (const row of rows) await attempt(row, "build", async () => row.runtime.build?.());
  const queue = rows.filter(({ reports }) => reports.length === 0).values();
  const server = await startDevServer();
  const closed = `http://127.0.0.1:${await freePort()}`;
  const lane = async () => {
    for (const row of queue) await attempt(row, "serve", () => serve(row, closed, server));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await server.close();
  return rows;
}

/** What went wrong; a step that was not reported at all is wrong, too. */
export function failures({ reports }: Row): Report[] {
  const absent = steps.filter((name) => !reports.some(({ step }) => step === name));
  const unreported = { step: absent.join(", "), ok: false, seen: "not reported" };
  return [...reports, ...(absent.length ? [unreported] : [])].filter(({ ok }) => !ok);
}

async function serve({ runtime, reports }: Row, closed: string, server: DevServer): Promise<void> {
  const { id, command, env, path = "/" } = runtime;
  const at = { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token };
  let host: Host | undefined;
  const collect = async () => {
    host = await startHost(command, { ...at, ...env });
    const asked = { entry: host.url + path, key: id, closed };
    for await (const report of check(asked, server)) reports.push(report);
  };
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no end within ${limit / 1000} s`)), limit);
  try {
    await Promise.race([collect(), late.promise]);
  } finally {
    clearTimeout(timer);
    await host?.stop();
  }
}

async function attempt({ reports }: Row, step: string, act: () => Promise<void>): Promise<void> {
  await act().catch((error) => reports.push({ step, ok: false, seen: `${error}` }));
}
