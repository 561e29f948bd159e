import type { Happening, Settings } from "./api.ts";

/** Calls the listener; what it throws or rejects with changes nothing. */
export async function emit(
  { settings, id, key }: { settings: Settings; id: string; key: string },
  happening: Happening,
): Promise<void> {
  try {
    await settings.onEvent?.({ id, key, owner: settings.owner, ...happening });
  } catch {}
}
