// What Lambda's own runtime does for Node, in short: asks for an event, runs the handler, posts what came of it. With
// CONCURRENCY it does so several times at once, as on Managed Instances.
const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

/** The timers of this package that were set, and neither ran nor were cleared: those that keep no process alive too. */
const timers = new Set<unknown>();
const { setTimeout: setReal, clearTimeout: clearReal } = globalThis;
globalThis.setTimeout = ((callback: (...given: unknown[]) => void, ms?: number, ...given: unknown[]) => {
  const timer = setReal(() => {
    timers.delete(timer);
    callback(...given);
  }, ms);
  // Node's fetch sets some of its own.
  if (new Error().stack?.includes("/dist/")) timers.add(timer);
  return timer;
}) as typeof setTimeout;
globalThis.clearTimeout = (timer) => {
  timers.delete(timer);
  clearReal(timer);
};

const { handler } = await import("./function.ts");

async function poll(): Promise<void> {
  for (;;) {
    const next = await fetch(`${api}/next`, { headers: { "x-timers": `${timers.size}` } });
    if (next.status !== 200) return;
    const id = next.headers.get("lambda-runtime-aws-request-id") as string;
    const deadline = Number(next.headers.get("lambda-runtime-deadline-ms"));
    const context = {
      functionName: "charge",
      awsRequestId: id,
      getRemainingTimeInMillis: () => deadline - Date.now(),
    };
    const [what, body] = await handler(await next.json(), context as Parameters<typeof handler>[1]).then(
      (result) => ["response", result],
      ({ name, message }) => ["error", { errorType: name, errorMessage: message }],
    );
    await fetch(`${api}/${id}/${what}`, { method: "POST", body: JSON.stringify(body) });
  }
}

await Promise.all(Array.from({ length: Number(process.env.CONCURRENCY ?? 1) }, poll));
console.log("ended");
