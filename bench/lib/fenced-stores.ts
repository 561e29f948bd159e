import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { PGlite } from "@electric-sql/pglite";
import dynalite from "dynalite";
import { Redis } from "ioredis";
import { Pool } from "pg";
import { dynamoFence, type FencedLock, postgresFence, redisFence } from "serverless-lock/fence";
import { hasPostgres, startPostgres } from "../../test/helpers/postgres-server.ts";
import { startRedis } from "../../test/helpers/redis-server.ts";

/** Each write sets a record to the lock's token, and resolves to the token that it finds there. */
export interface Store {
  name: string;
  guarded(lock: FencedLock, key: string): Promise<number | "refused">;
  unguarded(lock: FencedLock, key: string): Promise<number>;
}

interface Stores {
  stores: Store[];
  /** What they are. */
  versions: Record<string, string>;
  close(): Promise<void>;
}

interface OneStore extends Store {
  version: string;
  close(): Promise<unknown>;
}

export async function openStores(keys: readonly string[]): Promise<Stores> {
  const stores = await Promise.all([openPostgres(keys), openDynamo(), openRedis()]);
  return {
    stores,
    versions: Object.fromEntries(stores.map(({ name, version }) => [name, version])),
    close: async () => {
      await Promise.all(stores.map(({ close }) => close()));
    },
  };
}

const isStale = (text: RegExp) => (error: unknown) => {
  if (text.test(`${error}`)) return "refused" as const;
  throw error;
};

interface Statement {
  text: string;
  values?: (string | number)[];
}

/** Runs statements in one transaction. Resolves to the rows of the last. */
type Transact = (...statements: Statement[]) => Promise<{ before?: unknown }[]>;

async function openPostgres(keys: readonly string[]): Promise<OneStore> {
  const { transact, version, close } = hasPostgres ? await realPostgres() : await pglite();
  await transact({ text: postgresFence.ddl });
  for (const table of ["guarded", "unguarded"]) {
    await transact({ text: `CREATE TABLE ${table} (id text PRIMARY KEY, fence bigint NOT NULL)` });
    for (const key of keys) await transact({ text: `INSERT INTO ${table} VALUES ($1, 0)`, values: [key] });
  }
  const write = (table: string, { fence }: FencedLock, key: string): Statement => ({
    text: `UPDATE ${table} SET fence = $1 FROM (SELECT id, fence AS before FROM ${table} WHERE id = $2 FOR UPDATE) AS old
WHERE ${table}.id = old.id RETURNING before`,
    values: [fence as number, key],
  });
  const beforeOf = ([row]: { before?: unknown }[]) => Number(row?.before);
  return {
    name: "Postgres",
    version,
    guarded: (lock, key) =>
      transact(postgresFence(lock), write("guarded", lock, key)).then(
        beforeOf,
        isStale(/stale_fencing_token/),
      ),
    unguarded: async (lock, key) => beforeOf(await transact(write("unguarded", lock, key))),
    close,
  };
}

async function realPostgres() {
  const server = await startPostgres();
  const pool = new Pool({ connectionString: server.url, max: 10 });
  pool.on("error", () => {});
  const transact: Transact = async (...statements) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      let rows: { before?: unknown }[] = [];
      for (const { text, values } of statements)
        ({ rows } = await client.query<{ before?: unknown }>(text, values));
      await client.query("COMMIT");
      return rows;
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  };
  const { rows } = await pool.query<{ server_version: string }>("SHOW server_version");
  const close = async () => {
    await pool.end();
    await server.close();
  };
  return { transact, version: `${rows[0]?.server_version}`, close };
}

async function pglite() {
  const database = await PGlite.create();
  const transact: Transact = (...statements) =>
    database.transaction(async (transaction) => {
      let rows: { before?: unknown }[] = [];
      for (const { text, values } of statements)
        ({ rows } = await transaction.query<{ before?: unknown }>(text, values));
      return rows;
    });
  return { transact, version: "PGlite", close: () => database.close() };
}

async function openDynamo(): Promise<OneStore> {
  const server = dynalite({ createTableMs: 0 });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const base = new DynamoDBClient({
    endpoint: `http://127.0.0.1:${server.address().port}`,
    region: "eu-central-1",
    credentials: { accessKeyId: "none", secretAccessKey: "none" },
  });
  const client = DynamoDBDocumentClient.from(base);
  for (const TableName of ["guarded", "unguarded"])
    await base.send(
      new CreateTableCommand({
        TableName,
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
  const write = async (TableName: string, id: string, update: object) => {
    const asked = { TableName, Key: { id }, ReturnValues: "UPDATED_OLD", ...update } as const;
    const { Attributes } = await client.send(new UpdateCommand(asked));
    return Number(Attributes?.writer ?? 0);
  };
  return {
    name: "DynamoDB",
    version: "dynalite 4.0.0",
    guarded: (lock, key) => {
      const fence = dynamoFence(lock);
      const UpdateExpression = `${fence.UpdateExpression}, writer = :fence`;
      return write("guarded", key, { ...fence, UpdateExpression }).catch(isStale(/ConditionalCheckFailed/));
    },
    unguarded: ({ fence }, key) =>
      write("unguarded", key, {
        UpdateExpression: "SET writer = :fence",
        ExpressionAttributeValues: { ":fence": fence },
      }),
    async close() {
      client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function openRedis(): Promise<OneStore> {
  const server = await startRedis();
  const redis = new Redis(server.url);
  return {
    name: "Redis",
    version: /redis_version:(\S+)/.exec(await redis.info("server"))?.[1] ?? "",
    guarded: async (lock, key) => {
      const { prefix, keys, args } = redisFence(lock);
      const script = `${prefix}return redis.call("SET", KEYS[1], ARGV[1], "GET")`;
      const all = [`guarded:${key}`, ...keys];
      return redis
        .eval(script, all.length, ...all, lock.fence as number, ...args)
        .then((before) => Number(before), isStale(/^(ReplyError: )?STALEFENCE/));
    },
    unguarded: async ({ fence }, key) => Number(await redis.set(`unguarded:${key}`, fence as number, "GET")),
    async close() {
      redis.disconnect();
      await server.close();
    },
  };
}
