import { lockHandler } from "serverless-lock/lambda";

/**
 * Sends a mail by a provider that takes 50 a minute. A permit is kept for a minute after a success, so that at most 50
 * start in any minute. Who comes later waits, as long as the function may run.
 */
export const handler = lockHandler(
  { key: { key: "mail", limit: 50 }, holdFor: "1m", wait: "2m" },
  async ({ to }: { to: string }, context) => {
    const { signal } = context.lock;
    const response = await fetch(`${process.env.PROVIDER_URL}/mails`, { method: "POST", body: to, signal });
    if (!response.ok) throw new Error(`The provider answered ${response.status}`);
    return { sent: to };
  },
);
