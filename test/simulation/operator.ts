import { sleep } from "../../src/runtime.ts";
import type { Library } from "./library.ts";
import type { OperatorAct } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Tally } from "./tally.ts";
import type { Timeline } from "./timeline.ts";

interface Desk {
  library: Library;
  timeline: Timeline;
  tally: Tally;
  log(text: string): void;
  /** Where it works, and its way to the locks. */
  process: SimulatedProcess;
  locker: ReturnType<Library["newLocker"]>;
}

/** In ms. Longer than any request of the operator may be late. */
const allHasArrived = 20_000;

/**
 * Somebody on call, who steers locks by `serverless-lock/admin` as the plan says, asking again until it is done. In the
 * end it takes back what it has set: a pause may arrive once more after its end.
 */
export function operate(desk: Desk, acts: readonly OperatorAct[], keys: readonly string[]): void {
  const { timeline, process } = desk;
  const { admin } = desk.library;
  const done = acts.map(
    (act) =>
      new Promise<void>((resolve) => {
        timeline.schedule(act.at, () => void perform(desk, act).then(resolve), process);
      }),
  );
  void Promise.all(done).then(async () => {
    await sleep(process.runtime, allHasArrived);
    for (const key of keys) {
      await insist(desk, () => admin.unpause(desk.locker, key));
      await insist(desk, () => admin.setLimit(desk.locker, key, undefined));
    }
  });
}

async function perform(desk: Desk, { kind, key, ms, limit }: OperatorAct): Promise<void> {
  const { library, locker, tally, log, process } = desk;
  const { pause, release, setLimit, unpause } = library.admin;
  log(`an operator ${kind}: ${key}`);
  tally.count(kind);
  if (kind === "ends a lock" || kind === "ends a lock now") {
    const now = kind === "ends a lock now";
    await insist(desk, () => release(locker, key, { now }));
    return;
  }
  const pauses = kind === "pauses a lock";
  await insist(desk, () => (pauses ? pause(locker, key) : setLimit(locker, key, limit)));
  await sleep(process.runtime, ms);
  log(`an operator takes that back: ${key}`);
  await insist(desk, () => (pauses ? unpause(locker, key) : setLimit(locker, key, undefined)));
}

async function insist({ library, process }: Desk, ask: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (!(error instanceof library.LockUnavailableError)) throw error;
      await sleep(process.runtime, 200);
    }
  }
}
