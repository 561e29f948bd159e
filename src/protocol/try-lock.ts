import type { Answer } from "../redis/connection.ts";
import type { Attempt, Claim } from "./attempt.ts";
import { join, joinQueueFirst } from "./join.ts";
import { busy, granted, type Outcome, takesResult, unexpected } from "./protocol.ts";
import { decodePlain, isHeldBy, isState, stateMark } from "./state.ts";
import { ask, tryCommand } from "./support.ts";

/**
 * Takes all locks of the attempt if they are free or already ours: asked again, it gives the same answer.
 * One exclusive lock takes one plain command, if that says enough. The script is asked for all else: readers, permits,
 * several locks, a fencing token. A claim that takes a result stands in the queue at once. Without a wait, the script is
 * also asked for a state, whose holder's lease may be over, and for a nil that does not say enough.
 */
export async function tryLock(attempt: Attempt): Promise<Outcome> {
  const { connection, claims, settings } = attempt;
  const { ttl, fencing } = settings;
  const [claim, ...others] = claims as [Claim, ...Claim[]];
  const { redisKey, value } = claim;
  if (takesResult(claim) && settings.wait) return joinQueueFirst(attempt, claim);
  if (fencing || others.length > 0 || isState(value)) return join(attempt, claims);
  const taking = { taking: true, confirmed: true };
  if (connection.exact) {
    const told = await tryCommand(attempt, "get", ["SET", redisKey, value, "NX", "GET", "PX", ttl], taking);
    if (told) return readThere(attempt, claim, told);
  }
  const answer = await ask(attempt, ["SET", redisKey, value, "NX", "PX", ttl], taking);
  // "OK" is the one reply that nothing but success makes. A nil may be of a client, or of our own earlier request.
  if (answer.reply === "OK") return granted(attempt, [{ claim, value }], answer, { lease: ttl });
  // Who is ready to wait settles the nil by standing in the queue.
  return settings.wait ? busy(claim) : join(attempt, claims);
}

/** What the value that was at the lock says. */
async function readThere(attempt: Attempt, claim: Claim, answer: Answer): Promise<Outcome> {
  const { age, settings } = attempt;
  const { token, value } = claim;
  const { ttl: lease } = settings;
  const { reply: there } = answer;
  // Just taken: what is found later was taken after this request was sent.
  if (there === null) return granted(attempt, [{ claim, value }], answer, { lease });
  if (typeof there !== "string") throw unexpected(there);
  // An earlier request of ours, whose reply was lost, had taken it. Since then others may have waited. This one wrote
  // nothing that replicas could confirm.
  if (isHeldBy(there, token)) {
    const parts = [{ claim, value: isState(there) ? stateMark : there }];
    return granted(attempt, parts, { sinceSent: age, confirmed: undefined }, { lease });
  }
  if (isState(there) && !settings.wait) return join(attempt, [claim]);
  // What another holder's plain value says of it; that of another library says nothing.
  const plain = decodePlain(there);
  return { ...busy(claim, plain?.owner, plain?.lease), ended: plain?.token === `${token}.ended` };
}
