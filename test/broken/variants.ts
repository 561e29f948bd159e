/** A text of a file under src/, which stands there once, and what takes its place. */
export interface Patch {
  file: string;
  replace: string;
  by: string;
}

/** The package with one safeguard taken out: what checks the package has to notice each. */
export const variants = {
  "release without comparison": [
    {
      file: "protocol/release.ts",
      replace: '["DELEX", claim.redisKey, "IFEQ", value]',
      by: '["DEL", claim.redisKey]',
    },
    {
      file: "protocol/release.ts",
      replace: "if plain == token or",
      by: "if true or",
    },
  ],
  "validity counted from the reply": [
    {
      file: "redis/connection.ts",
      replace: "return { reply, confirmed, sinceSent,",
      by: "return { reply, confirmed, sinceSent: runtime.sinceNow(),",
    },
  ],
  "no drift allowance": [
    { file: "options/durations.ts", replace: "return ttl * 0.99 - 2;", by: "return ttl;" },
  ],
  "grant counted from the message": [
    {
      file: "acquire/wait.ts",
      replace: "const value = message && readGrant",
      by: "queued.since = runtime.sinceNow();\nconst value = message && readGrant",
    },
  ],
  "cut grant taken for a whole one": [
    { file: "acquire/wait.ts", replace: "stay - unheardCut;", by: "stay;" },
  ],
  "no tickets": [
    {
      file: "acquire/wait.ts",
      replace: "readGrant(attempt, claim, queued.ticket, message)",
      by: "readGrant(attempt, claim, Number.parseInt(message, 10), message)",
    },
  ],
  "own value found on a retry counted from the retry": [
    {
      file: "protocol/try-lock.ts",
      replace: "{ sinceSent: age,",
      by: "{ sinceSent: answer.sinceSent,",
    },
  ],
  "non-idempotent take": [
    { file: "protocol/try-lock.ts", replace: "if (isHeldBy(there, token))", by: "if (there === undefined)" },
  ],
  "a holder that is forgotten when the first waits": [
    {
      file: "protocol/prelude.ts",
      replace: "line('h', token, 'x', 1, now() + call('PTTL', key), since, 0, owner)",
      by: "line('h', token, 'x', 1, now(), since, 0, owner)",
    },
  ],
  "a dead holder's lock passed on by nobody": [
    {
      file: "protocol/prelude.ts",
      replace: "if tonumber(ends) > now() then\n      lines",
      by: "if true then\n      lines",
    },
  ],
  "a dead waiter's grant passed on by nobody but the next release": [
    {
      file: "protocol/join.ts",
      replace: "    pass(state)\n    held",
      by: "    if state.h == '' then pass(state) else state.blocked, state.passed = true, 0 end\n    held",
    },
  ],
  "a limit counted without weights": [
    {
      file: "protocol/prelude.ts",
      replace: "state.sum = state.sum + weight",
      by: "state.sum = state.sum + 1",
    },
  ],
  "a reader let past a waiting writer": [
    {
      file: "protocol/join.ts",
      replace: "(state.blocked or not fits(state, token, mode, weight)",
      by: "(state.blocked and mode ~= 's' or not fits(state, token, mode, weight)",
    },
  ],
  "a key's life cut by one short lease": [
    {
      file: "protocol/prelude.ts",
      replace: "ends = math.max(ends, leaseEnd)",
      by: "ends = tonumber(leaseEnd)",
    },
  ],
  "one key kept after a vain attempt at several": [
    {
      file: "protocol/abandon.ts",
      replace: "return dequeue(attempt, attempt.claims, attempt.abandoned.length > 0",
      by: "return dequeue(attempt, attempt.claims.slice(-1), attempt.abandoned.length > 0",
    },
  ],
  "a result stored by a holder that lost its lock": [
    {
      file: "protocol/deliver.ts",
      replace: "return stored:sub(1, #mark + 4) == 'r1:' .. mark .. ':' and 1 or 0",
      by: "if stored:sub(1, #mark + 4) == 'r1:' .. mark .. ':' then return 1 end",
    },
  ],
  "a result stored in one step and the lock released in another": [
    {
      file: "single-flight/single-flight.ts",
      replace: "return await endBy(() => {",
      by: `await ask(attempt, ["SET", resultKey(claim.redisKey), "r1:" + attempt.id + ":0:0:" + text, "PX", keepFor || 1]);
    return await lock.release();
    await endBy(() => {`,
    },
    {
      file: "single-flight/single-flight.ts",
      replace: "import { deliver, readResult }",
      by: 'import { ask } from "../protocol/support.ts";\nimport { deliver, readResult }',
    },
  ],
  "a safe release that frees at once": [
    {
      file: "admin/script.ts",
      replace: "if ARGV[1] == 'now' or whole:find('%.kept$') then",
      by: "if true then",
    },
  ],
  "a holder that is not told that an operator ended it": [
    { file: "protocol/extend.ts", replace: "reply[i] = ended and -1 or 0", by: "reply[i] = 0" },
  ],
  "a pause that lets in who waits": [
    {
      file: "protocol/prelude.ts",
      replace: "if state.paused or not state.kind then return not state.paused end",
      by: "if not state.kind then return true end",
    },
  ],
} satisfies Record<string, Patch[]>;

export type VariantName = keyof typeof variants;
