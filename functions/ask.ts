import { lockHandler } from "serverless-lock/lambda";

/** Asks a provider that serves five calls of ours at once. The sixth waits for up to 20 s, in the order of asking. */
export const handler = lockHandler(
  { key: { key: "provider", limit: 5 }, wait: "20s" },
  async ({ prompt }: { prompt: string }, context) => {
    const response = await fetch(`${process.env.PROVIDER_URL}/answers`, {
      method: "POST",
      body: prompt,
      signal: context.lock.signal,
    });
    return { answer: await response.text() };
  },
);
