// A process with some callers of one single flight. Its parent says when they begin.
import { createLocker } from "serverless-lock";
import { singleFlight } from "serverless-lock/single-flight";

const [url = "", token = "", key = "", callers = "", workMs = "", bytes = ""] = process.argv.slice(2);
// Two cores serve clients, server and Redis alike: what they take is no outage.
const locker = createLocker({ url, token, requestTimeout: "20s" });
let runs = 0;

async function work(): Promise<string> {
  runs++;
  await new Promise((resolve) => setTimeout(resolve, Number(workMs)));
  return "x".repeat(Number(bytes));
}

process.on("message", async () => {
  let delivered = 0;
  const options = {
    keepFor: "1m",
    wait: "1m",
    onEvent({ type }: { type: string }) {
      if (type === "released") delivered = Date.now();
    },
  } as const;
  const each = Array.from({ length: Number(callers) }, async () => {
    const result = await singleFlight(locker, key, options, work);
    return { at: Date.now(), right: result.length === Number(bytes) };
  });
  const ended = await Promise.all(each);
  process.send?.({ ended, runs, delivered });
  process.disconnect();
});
// What a process loads and connects when it first asks is no part of it.
const warm = Array.from({ length: Number(callers) }, (_, i) =>
  singleFlight(locker, `${key}-${process.pid}-${i % 5}`, { keepFor: 0 }, async () => i),
);
await Promise.all(warm);
process.send?.("ready");
