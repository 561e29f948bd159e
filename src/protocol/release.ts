import type { Connection } from "../redis/connection.ts";
import { type Claim, leaseValue } from "./claim.ts";
import { runScript, tryCommand, unexpected } from "./script.ts";

// KEYS[1] the lock  ARGV[1] our value
// Replies 1 when it was ours, else 0.
const releaseScript = `if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end
return redis.call('DEL',KEYS[1])`;

/** Whether the lock was ours; `undefined` when an earlier request, whose reply was lost, may have released it. */
export type Released = boolean | undefined;

/** Deletes the lock if it is still the claim's; never deletes another's. */
export async function release(
  connection: Connection,
  claim: Claim,
  requestTimeout: number,
): Promise<Released> {
  const { key, value } = claim;
  const plain = await tryCommand(connection, "compare", ["DELEX", key, "IFEQ", value], requestTimeout);
  if (plain?.reply === 1) return true;
  if (plain?.reply === 0) return plain.repeated ? undefined : false;
  // The server has no DELEX, or the reply is one that the client made up: the command may have been executed.
  const { reply, repeated } = await runScript(connection, releaseScript, [key], [value], requestTimeout);
  if (reply === 1) return true;
  if (reply === 0) return plain || repeated ? undefined : false;
  throw unexpected(reply);
}

// KEYS[1] the lock  ARGV[1] our value  ARGV[2] the value to leave there  ARGV[3] for how many ms
// Replies 1 when it was ours or had been left there already, else 0.
const keepScript = `local held=redis.call('GET',KEYS[1])
if held==ARGV[2] then return 1 end
if held~=ARGV[1] then return 0 end
redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3])
return 1`;

/** Gives the lock up, but keeps it taken for `ms` more: at most one run in a window. */
export async function keep(
  connection: Connection,
  claim: Claim,
  ms: number,
  requestTimeout: number,
): Promise<Released> {
  const { key, value } = claim;
  const kept = leaseValue(`${claim.token}.kept`, ms, claim.owner);
  const plain = await tryCommand(
    connection,
    "compare",
    ["SET", key, kept, "IFEQ", value, "PX", ms],
    requestTimeout,
  );
  if (plain?.reply === "OK") return true;
  if (plain?.reply === null && !plain.repeated && connection.client.resendsAfter === undefined) return false;
  const { reply } = await runScript(connection, keepScript, [key], [value, kept, ms], requestTimeout);
  if (reply === 1) return true;
  if (reply === 0) return false;
  throw unexpected(reply);
}
