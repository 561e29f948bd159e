// A process that takes two locks again and again, until its parent has counted enough.
import { createLocker } from "serverless-lock";
import type { SeveralOrder } from "../several.ts";

process.on("message", async ({ url, token, keys, times, wait }: SeveralOrder) => {
  const locker = createLocker({ url, token });
  let [done, busy] = [0, 0];
  const failed: string[] = [];
  for (let i = 0; i < times; i++) {
    try {
      const lock = await locker.acquire(keys[i % keys.length] as string[], { wait });
      if (lock.held && (await lock.release())) done++;
      else failed.push("a lock was lost");
    } catch (error) {
      if ((error as Error).name === "LockBusyError") busy++;
      else failed.push(`${error}: ${(error as Error).cause}`);
    }
  }
  process.send?.({ done, busy, failed });
});
