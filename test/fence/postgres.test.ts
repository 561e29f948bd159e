import { PGlite } from "@electric-sql/pglite";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fenceKit, postgresFence } from "../../src/fence/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { hasPostgres, startPostgres } from "../helpers/postgres-server.ts";

interface Database {
  /** Runs what is given in one transaction. */
  transaction(...statements: { text: string; values?: unknown[] }[]): Promise<unknown>;
  rows(text: string): Promise<Record<string, unknown>[]>;
  close(): Promise<unknown>;
}

async function realPostgres(): Promise<Database> {
  const server = await startPostgres();
  const pool = new Pool({ connectionString: server.url, max: 5 });
  // Those that idle when the server ends say so.
  pool.on("error", () => {});
  return {
    async transaction(...statements) {
      const client = await pool.connect();
      try {
        await client.query("BEGIN");
        for (const statement of statements) await client.query(statement);
        await client.query("COMMIT");
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      } finally {
        client.release();
      }
    },
    rows: async (text) => (await pool.query(text)).rows,
    async close() {
      await pool.end();
      await server.close();
    },
  };
}

async function pglite(): Promise<Database> {
  const database = await PGlite.create();
  return {
    transaction: (...statements) =>
      database.transaction(async (transaction) => {
        for (const { text, values } of statements) await transaction.query(text, values);
      }),
    rows: async (text) => (await database.query<Record<string, unknown>>(text)).rows,
    close: () => database.close(),
  };
}

describe.each([
  { name: "Postgres", missing: !hasPostgres, start: realPostgres },
  { name: "PGlite", missing: false, start: pglite },
])("postgresFence on $name", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let database: Database;
    const saved = async () => (await database.rows("SELECT balance FROM accounts"))[0]?.balance;
    const save = (balance: string) => ({ text: "UPDATE accounts SET balance = $1", values: [balance] });

    beforeAll(async () => {
      database = await start();
      // It may be run again and again, as a part of a migration.
      for (let times = 0; times < 2; times++) await database.transaction({ text: postgresFence.ddl });
      await database.transaction({ text: "CREATE TABLE accounts (balance text)" });
      await database.transaction({ text: "INSERT INTO accounts VALUES ('none')" });
    });
    afterAll(() => database?.close());

    test("keeps a stale holder's transaction out, in every order, and lets all others in", () =>
      fenceKit((lock, value) => database.transaction(postgresFence(lock), save(value)), { read: saved }));

    test("fails by the constraint stale_fencing_token, and leaves nothing of the transaction", async () => {
      const lock = { key: "order:1", keys: ["order:1"], fence: 1_795_728_432_796 };
      await database.transaction(postgresFence(lock), save("newer"));
      const error = await database
        .transaction(save("stale"), postgresFence({ ...lock, fence: lock.fence - 1 }))
        .catch((error) => error);
      expect(error).toMatchObject({ code: "23514", constraint: "stale_fencing_token" });
      expect(await saved()).toBe("newer");
    });

    test("has a row for each key of several: stale for one of them is stale", async () => {
      const fence = 1_795_728_432_796;
      const both = { keys: ["b'; DROP TABLE accounts; --", "a"], fence };
      await database.transaction(postgresFence(both));
      await database.transaction(postgresFence({ keys: ["a"], fence: fence + 2 }));
      const stale = { ...both, fence: fence + 1 };
      await expect(database.transaction(postgresFence(stale))).rejects.toThrow("stale_fencing_token");
      await database.transaction(postgresFence({ keys: [both.keys[0] as string], fence: fence + 1 }));
    });

    test("takes the lock of a locker", async () => {
      const lock = await memoryLocker().acquire("order:2", { fencing: true });
      await database.transaction(postgresFence(lock));
      expect(await database.rows("SELECT fence FROM serverless_lock_fence WHERE key = 'order:2'")).toEqual([
        { fence: expect.anything() },
      ]);
    });
  });
});

test("a lock without a fencing token is refused", async () => {
  const lock = await memoryLocker().acquire("order:3");
  expect(() => postgresFence(lock)).toThrow(
    new TypeError("The lock has no fencing token. Take it with fencing: true"),
  );
});
