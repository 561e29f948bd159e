import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import dynalite from "dynalite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dynamoFence, type FencedLock, fenceKit } from "../../src/fence/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

describe("dynamoFence", () => {
  const server = dynalite({ createTableMs: 0 });
  let client: DynamoDBDocumentClient;
  const table = { TableName: "accounts" };
  const Key = { id: "42" };
  const saved = async () => (await client.send(new GetCommand({ ...table, Key }))).Item?.balance;

  function update(lock: FencedLock, balance: string) {
    const fence = dynamoFence(lock);
    const UpdateExpression = `${fence.UpdateExpression}, balance = :balance`;
    const values = { ...fence.ExpressionAttributeValues, ":balance": balance };
    return { ...table, Key, ...fence, UpdateExpression, ExpressionAttributeValues: values };
  }

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const base = new DynamoDBClient({
      endpoint: `http://127.0.0.1:${server.address().port}`,
      region: "eu-central-1",
      credentials: { accessKeyId: "none", secretAccessKey: "none" },
    });
    client = DynamoDBDocumentClient.from(base);
    await base.send(
      new CreateTableCommand({
        ...table,
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
  });
  afterAll(async () => {
    client?.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test("keeps a stale holder's update out, in every order, and lets all others in", () =>
    fenceKit((lock, value) => client.send(new UpdateCommand(update(lock, value))), { read: saved }));

  test("keeps a stale holder's put out", () =>
    fenceKit(
      (lock, balance) => {
        const { UpdateExpression: _, ...condition } = dynamoFence(lock);
        const Item = { ...Key, balance, ...dynamoFence.attributes(lock) };
        return client.send(new PutCommand({ ...table, Item, ...condition }));
      },
      // A put takes all attributes away that it does not name: one key is locked for this item.
      { read: saved, key: "account:42" },
    ));

  test("fails by a ConditionalCheckFailedException", async () => {
    const lock = { keys: ["order:1"], fence: 1_795_728_432_796 };
    await client.send(new UpdateCommand(update(lock, "newer")));
    const stale = client.send(new UpdateCommand(update({ ...lock, fence: lock.fence - 1 }, "stale")));
    await expect(stale).rejects.toMatchObject({ name: "ConditionalCheckFailedException" });
    expect(await saved()).toBe("newer");
  });

  test("has a condition for each key of several: stale for one of them is stale", async () => {
    const fence = 1_795_728_432_796;
    const both = { keys: ["a b", "c#d.e"], fence };
    await client.send(new UpdateCommand(update(both, "both")));
    await client.send(new UpdateCommand(update({ keys: ["c#d.e"], fence: fence + 2 }, "one")));
    const stale = client.send(new UpdateCommand(update({ ...both, fence: fence + 1 }, "stale")));
    await expect(stale).rejects.toMatchObject({ name: "ConditionalCheckFailedException" });
    expect(await saved()).toBe("one");
  });

  test("takes the lock of a locker, and refuses one without a token", async () => {
    const locker = memoryLocker();
    await client.send(new UpdateCommand(update(await locker.acquire("order:2", { fencing: true }), "ours")));
    expect(await saved()).toBe("ours");
    const unfenced = await locker.acquire("order:3");
    expect(() => dynamoFence(unfenced)).toThrow(TypeError);
  });
});
