import { lockFetch } from "serverless-lock/fetch";

/** For `deno serve` and `bun run`: charges an order, at whatever path; its twins get a 423. */
export default {
  port: Number(process.env.PORT ?? 3000),
  fetch: lockFetch({ key: (request: Request) => new URL(request.url).pathname }, async (request) => {
    await charge(request.lock.signal);
    return Response.json({ charged: new URL(request.url).pathname });
  }),
};

/** Stands for the call to a payment provider. The signal stops it should the lock be lost. */
function charge(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, 800);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
