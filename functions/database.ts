import { PGlite } from "@electric-sql/pglite";
import { Pool } from "pg";
import { postgresFence } from "serverless-lock/fence";

interface Statement {
  text: string;
  values?: unknown[];
}

type Row = Record<string, unknown>;

export interface Database {
  rows(statement: Statement): Promise<Row[]>;
  /** Runs all in one transaction. */
  transaction(...statements: Statement[]): Promise<void>;
  close(): Promise<void>;
}

/** The Postgres at `DATABASE_URL`, or one inside of this process; with the table of the fence and that of accounts. */
export async function openDatabase(): Promise<Database> {
  const url = process.env.DATABASE_URL;
  const database = url ? ofServer(url) : await ofProcess();
  await database.transaction(
    { text: postgresFence.ddl },
    { text: "CREATE TABLE IF NOT EXISTS accounts (id text PRIMARY KEY, balance integer NOT NULL)" },
  );
  return database;
}

function ofServer(url: string): Database {
  const pool = new Pool({ connectionString: url, max: 5 });
  return {
    rows: async (statement) => (await pool.query<Row>(statement)).rows,
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
    close: () => pool.end(),
  };
}

async function ofProcess(): Promise<Database> {
  const database = await PGlite.create();
  return {
    rows: async ({ text, values }) => (await database.query<Row>(text, values)).rows,
    async transaction(...statements) {
      await database.transaction(async ({ query }) => {
        for (const { text, values } of statements) await query(text, values);
      });
    },
    close: () => database.close(),
  };
}
