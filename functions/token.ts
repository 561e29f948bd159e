import { createLocker } from "serverless-lock";
import { singleFlight } from "serverless-lock/single-flight";

interface Token {
  access_token: string;
  /** In seconds. */
  expires_in: number;
}

const locker = createLocker();

/**
 * `GET /token`: what a provider's API is called with. However many ask, and in however many instances, it is refreshed
 * once: a provider that rotates its tokens takes the old one once. All get what came of it, for 50 minutes of its hour.
 */
export async function GET(): Promise<Response> {
  const token = await singleFlight(locker, "oauth:provider", { keepFor: "50m", wait: "10s" }, (lock) =>
    refresh(lock.signal),
  );
  return Response.json({ token });
}

async function refresh(signal: AbortSignal): Promise<string> {
  const response = await fetch(`${process.env.PROVIDER_URL}/oauth/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "refresh_token" }),
    signal,
  });
  if (!response.ok) throw new Error(`The provider answered ${response.status}`);
  return ((await response.json()) as Token).access_token;
}
