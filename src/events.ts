import type { Happening, Settings } from "./api.ts";
import type { Claim } from "./protocol/attempt.ts";
import { kindOf } from "./protocol/state.ts";

/** What an event says of an attempt. */
interface Subject {
  settings: Settings;
  id: string;
  key: string;
  claims: readonly Claim[];
}

/** Tells a listener. What that throws or rejects with changes nothing. */
export async function tell<Told extends unknown[]>(
  listener: (...told: Told) => unknown,
  ...told: Told
): Promise<void> {
  try {
    await listener(...told);
  } catch {}
}

/** Tells the settings' listener of an event. */
export async function emit({ settings, id, key, claims }: Subject, happening: Happening): Promise<void> {
  const { onEvent, owner } = settings;
  if (!onEvent) return;
  const [mode = "mixed", ...others] = new Set(claims.map((claim) => kindOf(claim.mode)));
  const about = {
    ...{ id, key, owner, keys: claims.map((claim) => claim.key) },
    mode: others.length > 0 ? "mixed" : mode,
    weight: claims.reduce((sum, { weight }) => sum + weight, 0),
  } as const;
  await tell(onEvent, { ...about, ...happening });
}
