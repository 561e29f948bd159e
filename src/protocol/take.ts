import { ask, busy, type Claim, isOurs, type Taken, unexpected } from "./claim.ts";
import { join } from "./join.ts";

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough; the script for a fencing token, and to settle a nil of a client
 * that may have made it up, where no waiting does so.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, value, asker } = claim;
  const { exact } = claim.connection;
  const { ttl, fencing, wait } = claim.settings;
  if (!fencing) {
    const command = ["SET", key, value, "NX", ...(exact ? ["GET"] : []), "PX", ttl];
    const { reply, sinceSent } = await ask(claim, command, asker);
    // Ours: an earlier request under this claim, whose reply was lost, had taken it.
    if (exact && isOurs(claim, reply)) return { held: true };
    // Just taken, or another's: then what is found later was taken after this request was sent.
    claim.since = sinceSent;
    // "OK" is the one reply that nothing but success makes.
    if (reply === (exact ? null : "OK")) return { held: true };
    if (exact && typeof reply !== "string") throw unexpected(reply);
    // Who is ready to wait settles the nil by standing in the queue.
    if (exact || wait) return busy(`${reply}`);
  }
  return join(claim);
}
