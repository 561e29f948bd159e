import { ask, busy, type Claim, isOurs, type Taken, unexpected } from "./claim.ts";
import { join } from "./join.ts";
import { tryCommand } from "./support.ts";

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough; the script for a fencing token, and to settle a nil that does not,
 * where no waiting does so.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, value, asker } = claim;
  const { ttl, fencing, wait } = claim.settings;
  if (fencing) return join(claim);
  const told = claim.connection.exact
    ? await tryCommand(claim, "get", ["SET", key, value, "NX", "GET", "PX", ttl], asker)
    : undefined;
  if (told) {
    const { reply, sinceSent } = told;
    // Ours: an earlier request under this claim, whose reply was lost, had taken it.
    if (isOurs(claim, reply)) return { held: true };
    // Just taken, or another's: then what is found later was taken after this request was sent.
    claim.since = sinceSent;
    if (reply === null) return { held: true };
    if (typeof reply !== "string") throw unexpected(reply);
    return busy(reply);
  }
  const { reply, sinceSent } = await ask(claim, ["SET", key, value, "NX", "PX", ttl], asker);
  claim.since = sinceSent;
  // "OK" is the one reply that nothing but success makes. A nil may be of a client, or of our own earlier request.
  if (reply === "OK") return { held: true };
  // Who is ready to wait settles the nil by standing in the queue.
  return wait ? busy(`${reply}`) : join(claim);
}
