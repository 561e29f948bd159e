/** A text of a file under src/, which stands there once, and what takes its place. */
export interface Patch {
  file: string;
  replace: string;
  by: string;
}

/** The package with one safeguard taken out: what checks the package has to notice each. */
export const variants = {
  "release without comparison": [
    { file: "protocol/release.ts", replace: '["DELEX", key, "IFEQ", value]', by: '["DEL", key]' },
    { file: "protocol/release.ts", replace: "if not ours() then return 0 end\n", by: "" },
  ],
  "validity counted from the reply": [
    {
      file: "redis/connection.ts",
      replace: "return { reply, sinceSent,",
      by: "return { reply, sinceSent: runtime.sinceNow(),",
    },
  ],
  "no drift allowance": [{ file: "time.ts", replace: "return ttl * 0.99 - 2;", by: "return ttl;" }],
  "grant counted from the message": [
    {
      file: "waiting/turn.ts",
      replace: "if (fencing || validity(lease)",
      by: "claim.since = runtime.sinceNow();\nif (fencing || validity(lease)",
    },
  ],
  "short grant taken for a whole one": [
    { file: "waiting/turn.ts", replace: 'mark === "?" ? stay - shorter : stay', by: "stay" },
  ],
  "no tickets": [
    { file: "waiting/turn.ts", replace: "if (message === ticket + mark) {", by: "if (message) {" },
  ],
  "own value found on a retry counted from the retry": [
    {
      file: "protocol/take.ts",
      replace: "if (isOurs(claim, reply)) return { held: true };",
      by: "if (isOurs(claim, reply)) { claim.since = sinceSent; return { held: true }; }",
    },
  ],
  "non-idempotent take": [
    {
      file: "protocol/take.ts",
      replace: "if (isOurs(claim, reply)) return { held: true };",
      by: "",
    },
  ],
} satisfies Record<string, Patch[]>;

export type VariantName = keyof typeof variants;
