import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Credentials } from "./contenders.ts";
import type { WaiterName } from "./waiters.ts";

/** What a process of waiters is told: who is to ask for the lock, when, and how long each is to work under it. */
export interface Order {
  waiter: WaiterName;
  credentials: Credentials;
  key: string;
  people: Person[];
  /** A file with a number, to which everybody adds one while it holds the lock. */
  counter?: string | undefined;
}

export interface Person {
  index: number;
  at: number;
  work: number;
  /** How the lock is asked for. Default: exclusive. All who ask for permits name the same limit. */
  kind?: { mode: "shared" } | { limit: number } | undefined;
}

/** When one waiter asked, and when its work started and ended, which is when it called for the release. */
export interface Turn {
  index: number;
  asked: number;
  started: number;
  ended: number;
}

export type Told = { turns: Turn[] } | { failed: string };

/** Milliseconds on the machine's monotonic clock, the same in all its processes. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A crowd of waiters, spread over processes in turn, so that neighbours in the queue are not in one process. */
export interface Crowd {
  readonly processes: readonly ChildProcess[];
  /** Resolves when all have had their turn, in the order of their starts. */
  run(order: Order): Promise<Turn[]>;
  close(): Promise<void>;
}

export function startCrowd(size: number): Crowd {
  const processes = Array.from({ length: size }, () => fork(new URL("./crowd-process.ts", import.meta.url)));
  const killAll = () => {
    for (const each of processes) each.kill("SIGKILL");
  };
  process.once("exit", killAll);
  const gone = processes.map((child) => once(child, "exit"));
  const died = Promise.race(gone).then(() => [{ failed: "a process of waiters died" }]);

  async function ask(child: ChildProcess, order: Order): Promise<Exclude<Told, { failed: string }>> {
    child.send(order);
    const [told] = (await Promise.race([once(child, "message"), died])) as [Told];
    if ("failed" in told) throw new Error(told.failed);
    return told;
  }

  return {
    processes,
    async run(order) {
      const told = await Promise.all(
        processes.map((child, i) =>
          ask(child, { ...order, people: order.people.filter((_, person) => person % size === i) }),
        ),
      );
      const turns = told.flatMap((each) => each.turns).sort((a, b) => a.started - b.started);
      const kinds = new Map(order.people.map(({ index, kind }) => [index, kind]));
      let working: Turn[] = [];
      for (const turn of turns) {
        working = [...working.filter(({ ended }) => turn.started < ended), turn];
        if (!mayWorkTogether(working.map(({ index }) => kinds.get(index))))
          throw new Error("More held the lock at the same time than may");
      }
      return turns;
    },
    async close() {
      process.off("exit", killAll);
      for (const child of processes) child.kill("SIGTERM");
      await Promise.all(gone);
    },
  };
}

function mayWorkTogether([first, ...others]: Person["kind"][]): boolean {
  if (others.length === 0) return true;
  if (!first) return false;
  if ("limit" in first) return others.length < first.limit && others.every((each) => each && "limit" in each);
  return others.every((each) => each && "mode" in each);
}
