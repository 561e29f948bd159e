import { type FencedLock, fenceOf } from "./lock.ts";

/** A statement as every client of Postgres takes it. */
export interface Statement {
  text: string;
  values: (string | number)[];
}

function statementOf(lock: FencedLock): Statement {
  const fence = fenceOf(lock);
  // In one order for all: two transactions that fence the same locks cannot wait for each other.
  const keys = lock.keys.toSorted();
  const rows = keys.map((_, i) => `($${i + 2}::text, $1::bigint)`);
  return {
    text: `INSERT INTO serverless_lock_fence AS newest (key, fence) VALUES ${rows.join(", ")}
ON CONFLICT (key) DO UPDATE SET fence = CASE WHEN newest.fence <= excluded.fence THEN excluded.fence ELSE 0 END`,
    values: [fence, ...keys],
  };
}

/**
 * The statement to run first in the transaction of a write: it fails, and the transaction with it, if a later holder
 * has written. The error is a check violation (SQLSTATE 23514) of the constraint `stale_fencing_token`. Until the
 * transaction ends, the write of any other holder waits.
 * @throws TypeError for a lock that was not taken with `fencing: true`
 *
 * @example
 * await client.query("BEGIN");
 * await client.query(postgresFence(lock));
 * await client.query("UPDATE accounts SET balance = $1 WHERE id = $2", [balance, id]);
 * await client.query("COMMIT");
 */
export const postgresFence = /* @__PURE__ */ Object.assign(statementOf, {
  /** What it needs in the database, once: a table with a row for each key that ever wrote. */
  ddl: `CREATE TABLE IF NOT EXISTS serverless_lock_fence (
  key text PRIMARY KEY,
  fence bigint NOT NULL CONSTRAINT stale_fencing_token CHECK (fence > 0)
)`,
});
