import type { Connection } from "../redis/connection.ts";
import type { Moment } from "../time.ts";
import type { Claim } from "./claim.ts";
import { runScript, tryCommand, unexpected } from "./script.ts";

// KEYS[1] the lock  ARGV[1] our value  ARGV[2] the lease in ms
// Replies 1 when the lease starts anew, 0 when the lock is not ours.
const extendScript = `if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end
return redis.call('PEXPIRE',KEYS[1],ARGV[2])`;

/** The moment the new lease is counted from, if the lock is ours, and whether a lost request may set it again. */
export interface Extended {
  since: Moment | undefined;
  repeated: boolean;
}

/** Starts the lease anew, `ttl` ms long, if the lock is still the claim's. */
export async function extend(
  connection: Connection,
  claim: Claim,
  ttl: number,
  requestTimeout: number,
): Promise<Extended> {
  const { key, value } = claim;
  const plain = await tryCommand(
    connection,
    "compare",
    ["SET", key, value, "IFEQ", value, "PX", ttl],
    requestTimeout,
  );
  const repeated = plain?.repeated ?? false;
  if (plain?.reply === "OK") return { since: plain.sent, repeated };
  if (plain?.reply === null && connection.client.resendsAfter === undefined)
    return { since: undefined, repeated };
  // The server has no SET … IFEQ, or the nil is one that the client may have made up.
  const script = await runScript(connection, extendScript, [key], [value, ttl], requestTimeout);
  if (script.reply === 1) return { since: script.sent, repeated: repeated || script.repeated };
  if (script.reply === 0) return { since: undefined, repeated };
  throw unexpected(script.reply);
}
