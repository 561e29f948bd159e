import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ClientSettings } from "./client.ts";
import { setClock } from "./clock.ts";
import { type DirectorLine, now } from "./log.ts";

const program = fileURLToPath(new URL("client.ts", import.meta.url));

export interface Client {
  name: string;
  process: ChildProcess;
  stopped: boolean;
  /** ms its wall clock is ahead. */
  offset: number;
  exited: Promise<void>;
}

/** What all clients of a storm have in common. */
export type CommonSettings = Omit<ClientSettings, "client" | "log" | "clock">;

/** The client processes, and what can be done to them. All of it is recorded. */
export interface Fleet {
  /** Those alive. */
  clients(): Client[];
  start(): Client;
  stop(client: Client): void;
  goOn(client: Client): void;
  kill(client: Client): Promise<void>;
  stepClock(client: Client, ms: number): void;
  /** Tells all to finish, and waits until they have exited by themselves; who has not after `limit` ms is stuck. */
  finish(limit: number): Promise<void>;
}

export const clientLog = (folder: string, client: string): string => join(folder, `${client}.jsonl`);

/** @param env what clients find in their environment beside this process's own */
export function createFleet(
  folder: string,
  common: CommonSettings,
  env: Record<string, string>,
  record: (line: DirectorLine) => void,
): Fleet {
  const alive = new Map<string, Client>();
  let started = 0;
  // Whoever is stopped would not see that its standard input has ended.
  process.once("exit", () => {
    for (const { process } of alive.values()) process.kill("SIGKILL");
  });

  function start(): Client {
    const name = `c${++started}`;
    const clock = join(folder, `${name}.clock`);
    // Neighbours are a minute apart from the beginning.
    const offset = started % 2 === 0 ? 30_000 : -30_000;
    setClock(clock, offset);
    const settings: ClientSettings = {
      ...common,
      client: name,
      seed: common.seed + 1000 * started,
      log: clientLog(folder, name),
      clock,
    };
    // What libraries print there is for whoever looks into a finding.
    const errors = openSync(join(folder, `${name}.stderr`), "w");
    const child = spawn(process.execPath, [program, JSON.stringify(settings)], {
      env: { ...process.env, ...env },
      stdio: ["pipe", "inherit", errors],
    });
    closeSync(errors);
    // It may be gone when it is told to finish.
    child.stdin?.on("error", () => {});
    const exited = new Promise<void>((resolve) => {
      child.once("exit", (code) => {
        alive.delete(name);
        record({ what: "exited", at: now(), client: name, code });
        resolve();
      });
    });
    record({ what: "started", at: now(), client: name });
    const client: Client = { name, process: child, stopped: false, offset, exited };
    alive.set(name, client);
    return client;
  }

  async function kill(client: Client, what: "killed" | "stuck" = "killed"): Promise<void> {
    client.process.kill("SIGKILL");
    record({ what, at: now(), client: client.name });
    await client.exited;
  }

  function goOn(client: Client): void {
    client.process.kill("SIGCONT");
    client.stopped = false;
    record({ what: "continued", at: now(), client: client.name });
  }

  return {
    clients: () => [...alive.values()],
    start,
    stop(client) {
      client.process.kill("SIGSTOP");
      client.stopped = true;
      record({ what: "stopped", at: now(), client: client.name });
    },
    goOn,
    kill: (client) => kill(client),
    stepClock(client, ms) {
      client.offset += ms;
      setClock(join(folder, `${client.name}.clock`), client.offset);
      record({ what: "stepped", at: now(), client: client.name, ms });
    },
    async finish(limit) {
      const clients = [...alive.values()];
      for (const client of clients) {
        if (client.stopped) goOn(client);
        client.process.stdin?.end();
      }
      const late = setTimeout(() => {
        for (const client of alive.values()) kill(client, "stuck");
      }, limit);
      await Promise.all(clients.map(({ exited }) => exited));
      clearTimeout(late);
    },
  };
}
