import type { Since } from "../runtime.ts";
import type { Attempt } from "./attempt.ts";
import { join } from "./join.ts";
import { busy, granted, type Outcome, unexpected } from "./protocol.ts";
import { decodePlain, isHeldBy, isState, stateMark } from "./state.ts";
import { ask, tryCommand } from "./support.ts";

/**
 * Takes the lock if it is free or already ours: asked again for the same attempt, it gives the same answer.
 * One plain command if that says enough. The script for a fencing token; and, if no waiting asks it, for a
 * state, whose holder's lease may be over, and for a nil that does not say enough.
 */
export async function tryLock(attempt: Attempt): Promise<Outcome> {
  const { connection, redisKey, value, settings } = attempt;
  const { ttl, fencing } = settings;
  if (fencing) return join(attempt);
  const taking = { taking: true };
  if (connection.exact) {
    const told = await tryCommand(attempt, "get", ["SET", redisKey, value, "NX", "GET", "PX", ttl], taking);
    if (told) return readThere(attempt, told.reply, told.sinceSent);
  }
  const { reply, sinceSent } = await ask(attempt, ["SET", redisKey, value, "NX", "PX", ttl], taking);
  // "OK" is the one reply that nothing but success makes. A nil may be of a client, or of our own earlier request.
  if (reply === "OK") return granted(attempt, value, sinceSent);
  // Who is ready to wait settles the nil by standing in the queue.
  return settings.wait ? busy() : join(attempt);
}

/** What the value that was at the lock says. */
async function readThere(attempt: Attempt, there: unknown, sinceSent: Since): Promise<Outcome> {
  const { age, settings, token, value } = attempt;
  // Just taken: what is found later was taken after this request was sent.
  if (there === null) return granted(attempt, value, sinceSent);
  if (typeof there !== "string") throw unexpected(there);
  // An earlier request of ours, whose reply was lost, had taken it. Since then others may have waited.
  if (isHeldBy(there, token)) return granted(attempt, isState(there) ? stateMark : there, age);
  if (isState(there) && !settings.wait) return join(attempt);
  // What another holder's plain value says of it; that of another library says nothing.
  const { owner, lease } = decodePlain(there) ?? {};
  return busy(owner, lease);
}
