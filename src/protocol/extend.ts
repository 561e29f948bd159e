import type { Attempt, Claim, Part } from "./attempt.ts";
import { lua } from "./lua.ts";
import {
  checkReplicas,
  type Extension,
  endedByOperator,
  gone,
  type Loss,
  lockKeys,
  unexpected,
} from "./protocol.ts";
import { isOurs, isState } from "./state.ts";
import { askAll, ifFull, runScript, tryCommand } from "./support.ts";

// Two KEYS for each lock: the lock, what an operator has set for it
// ARGV[1] 1 where another process may rely on a longer lease, which stays then  and four for each lock: our token, the
// lease in ms, the token from then on, the mode from then on or ''
// Starts the leases anew, and lets in who fits beside us by now. Asked again, does it again.
// Replies for each lock our plain value, 's2!' where it is a state, 0 when it is not ours, and -1 when an operator ended it.
export const extendLua = lua`
local values, reply = read(), {}
for i = 1, #KEYS / 2 do
  local key, value, said = KEYS[2 * i - 1], values[2 * i - 1], values[2 * i] or ''
  local token, ms, nextToken, nextMode = unpack(ARGV, 4 * i - 2, 4 * i + 1)
  local state = value and open(key, value, said)
  local from, mode, weight, ends, since, ticket, owner
  if state then
    from, mode, weight, ends, since, ticket, owner = takeOut(state, 'h', token)
    if not from then from, mode, weight, ends, since, ticket, owner = takeOut(state, 'h', nextToken) end
  end
  local ended = (said .. (state and state.h or '')):find(token .. '.ended ', 1, true)
  reply[i] = ended and -1 or 0
  if from then
    if nextMode ~= '' then mode = nextMode end
    local longer = ARGV[1] == '1' and ends or 0
    hold(state, nextToken, mode, weight, math.max(longer, now() + ms), since, owner)
    pass(state)
    reply[i] = store(state)
  end
end
return reply`;

/** What becomes of a lock that is ours. */
interface Change {
  /** Its lease from now on, in ms. */
  ttl: number;
  token: string;
  /** Undefined to leave it as it is. */
  mode?: string;
}

/** Starts the leases anew, `ttl` ms long, if the locks are still ours. Why not, if one of them is not. */
export function extend(attempt: Attempt, parts: readonly Part[], ttl: number): Promise<Extension | Loss> {
  return change(attempt, parts, ({ token }) => ({ ttl, token }));
}

/** Makes exclusive locks shared ones, with a new lease. Why not, if one of them is not ours any more. */
export function share(attempt: Attempt, parts: readonly Part[], ttl: number): Promise<Extension | Loss> {
  return change(attempt, parts, ({ token }) => ({ ttl, token, mode: "s" }));
}

/**
 * Gives locks up, but keeps each taken for a while more, under a token that is no holder's. False if one was not ours.
 * @param msOf for how long, in ms
 */
export async function keep(
  attempt: Attempt,
  parts: readonly Part[],
  msOf: (claim: Claim) => number,
): Promise<boolean> {
  const kept = await change({ ...attempt, resumed: false }, parts, (claim) => {
    return { ttl: msOf(claim), token: `${claim.token}.kept` };
  });
  return typeof kept !== "string";
}

async function change(
  attempt: Attempt,
  parts: readonly Part[],
  changeOf: (claim: Claim) => Change,
): Promise<Extension | Loss> {
  const changed = await askAll(attempt, parts, (some) => changeTogether(attempt, some, changeOf));
  const extensions = changed.filter((extension) => typeof extension !== "string");
  const loss = changed.find((extension) => typeof extension === "string");
  if (loss) return loss;
  return {
    parts: extensions.flatMap((extension) => extension.parts),
    since: (extensions[0] as Extension).since,
    repeated: extensions.some(({ repeated }) => repeated),
  };
}

async function changeTogether(
  attempt: Attempt,
  parts: readonly Part[],
  changeOf: (claim: Claim) => Change,
): Promise<Extension | Loss> {
  const compared = await changePlain(attempt, parts, changeOf);
  if (compared?.done) return compared.done;
  const changes = parts.flatMap(({ claim }) => {
    const { ttl, token, mode = "" } = changeOf(claim);
    return [claim.token, ttl, token, mode];
  });
  const keys = parts.flatMap(({ claim }) => lockKeys(claim));
  const args = [Number(attempt.resumed), ...changes];
  const asking = { confirmed: true };
  const { reply, confirmed, sinceSent, repeated } = await runScript(attempt, "extend", keys, args, asking);
  const values: unknown[] = Array.isArray(reply) ? reply : [];
  if (values.length !== parts.length) throw unexpected(reply);
  if (values.includes(-1)) return endedByOperator;
  const after = parts.map(({ claim }, i): Part => {
    const value = values[i];
    if (value !== 0 && !isOurs(value, changeOf(claim).token)) throw unexpected(reply);
    return { claim, value: value || "" };
  });
  if (after.some(({ value }) => !value)) return gone;
  checkReplicas(attempt, confirmed);
  return { parts: after, since: sinceSent, repeated: repeated || (compared?.repeated ?? false) };
}

/** One lock for which nobody waits is changed by one command. `done` is undefined if it was not. */
async function changePlain(
  attempt: Attempt,
  [part, ...others]: readonly Part[],
  changeOf: (claim: Claim) => Change,
): Promise<{ done: Extension | undefined; repeated: boolean } | undefined> {
  if (!part || others.length || attempt.resumed || isState(part.value)) return undefined;
  const { claim, value } = part;
  const { ttl, token, mode } = changeOf(claim);
  if (mode) return undefined;
  const next = value.replace(/^s2:[^:]*:\d+/, `s2:${token}:${ttl}`);
  const command = ["SET", claim.redisKey, next, "IFEQ", value, "PX", ttl];
  const compared = await tryCommand(attempt, "compare", command, { confirmed: true }).catch(ifFull);
  if (!compared) return undefined;
  // Any other reply: others may wait, and have made a state of the value; or it is one that a lost request or the
  // client made.
  const { reply, confirmed, sinceSent: since, repeated } = compared;
  if (reply !== "OK") return { done: undefined, repeated };
  checkReplicas(attempt, confirmed);
  return { done: { parts: [{ claim, value: next }], since, repeated }, repeated };
}
