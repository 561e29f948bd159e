import { ask, type Claim, type Taken, unexpected } from "./claim.ts";
import { join } from "./join.ts";
import { decodePlain, decodeState, isState } from "./state.ts";

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough. The script for a fencing token, for a state, whose holder's lease may be
 * over, and to settle a nil of a client that may have made it up. Who is ready to wait asks the script by waiting.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, token, plain, asker } = claim;
  const { exact } = claim.connection;
  const { ttl, fencing, wait } = claim.settings;
  if (fencing) return join(claim);
  const command = ["SET", key, plain, "NX", ...(exact ? ["GET"] : []), "PX", ttl];
  const { reply, sinceSent } = await ask(claim, command, asker);
  const there = exact && reply !== null ? `${reply}` : undefined;
  // Ours: an earlier request under this claim, whose reply was lost, had taken it.
  if (there === plain) return { held: true };
  if (there && decodeState(there)?.holders.some((holder) => holder.token === token)) {
    claim.plain = "s2!";
    return { held: true };
  }
  // Just taken, or another's: then what is found later was taken after this request was sent.
  claim.since = sinceSent;
  // "OK" is the one reply that nothing but success makes.
  if (reply === (exact ? null : "OK")) return { held: true };
  if (exact && typeof reply !== "string") throw unexpected(reply);
  if (!wait && (!there || isState(there))) return join(claim);
  const { owner, lease } = decodePlain(there ?? "") ?? {};
  return {
    held: false,
    holder: { owner: owner || undefined, retryAfter: lease, place: undefined },
    queued: undefined,
  };
}
