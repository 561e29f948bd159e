// One of the processes that play histories: it gets batches, and sends back what came out.
import { constants, getPriority, setPriority } from "node:os";
import { type Batch, createPlayer } from "./batch.ts";
import type { EngineName } from "./plan.ts";

// Millions of errors are made here whose stacks nobody reads, at a third of the time it all takes.
Error.stackTraceLimit = 0;
// Whatever else runs on this machine goes first.
setPriority(Math.max(getPriority(), constants.priority.PRIORITY_BELOW_NORMAL));

const { engines, file } = JSON.parse(process.argv[2] as string) as { engines: EngineName[]; file?: string };
const player = await createPlayer(engines, file);
process.on("message", async (batch: Batch) => {
  try {
    process.send?.(await player.play(batch));
  } catch (error) {
    // A defect of the simulation: whoever waits for this batch learns it by the exit.
    console.error(error);
    process.exit(1);
  }
});
process.send?.("ready");
