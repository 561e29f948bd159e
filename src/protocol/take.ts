import { ask, type Claim, type Taken, unexpected } from "./claim.ts";
import { join } from "./join.ts";
import { decodePlain, isHeldBy, isState } from "./state.ts";
import { tryCommand } from "./support.ts";

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough. The script for a fencing token; and, where no waiting asks it, for a
 * state, whose holder's lease may be over, and for a nil that does not say enough.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, token, plain, asker } = claim;
  const { ttl, fencing, wait } = claim.settings;
  if (fencing) return join(claim);
  const told = claim.connection.exact
    ? await tryCommand(claim, "get", ["SET", key, plain, "NX", "GET", "PX", ttl], asker)
    : undefined;
  if (told) {
    const { reply, sinceSent } = told;
    // Ours: an earlier request under this claim, whose reply was lost, had taken it.
    if (reply === plain) return { held: true };
    const there = typeof reply === "string" ? reply : "";
    if (isHeldBy(there, token)) {
      claim.plain = "s2!";
      return { held: true };
    }
    // Just taken, or another's: then what is found later was taken after this request was sent.
    claim.since = sinceSent;
    if (reply === null) return { held: true };
    if (typeof reply !== "string") throw unexpected(reply);
    return isState(reply) && !wait ? join(claim) : busy(reply);
  }
  const { reply, sinceSent } = await ask(claim, ["SET", key, plain, "NX", "PX", ttl], asker);
  claim.since = sinceSent;
  // "OK" is the one reply that nothing but success makes. A nil may be of a client, or of our own earlier request.
  if (reply === "OK") return { held: true };
  // Who is ready to wait settles the nil by standing in the queue.
  return wait ? busy("") : join(claim);
}

/** What another holder's value says of it; that of another library says nothing. */
function busy(there: string): Taken {
  const { owner, lease } = decodePlain(there) ?? {};
  const holder = { owner: owner || undefined, retryAfter: lease, place: undefined };
  return { held: false, holder, queued: undefined };
}
