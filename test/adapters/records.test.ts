import type { DynamoDBRecord, KinesisStreamRecord, SQSRecord } from "aws-lambda";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type LambdaRecord, type LockRecordsOptions, lockRecords } from "../../src/adapters/lambda.ts";
import { type Lock, LockBusyError, LockLostError, LockOptionError, type Targets } from "../../src/index.ts";
import { engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { lambda } from "../helpers/lambda.ts";
import { until } from "../helpers/waiter.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const { url, token } = backend.server;
const locker = lockerAt(backend.server);

// What goes wrong is logged by default.
const logged = vi.spyOn(console, "error");
beforeEach(() => {
  logged.mockReset().mockImplementation(() => {});
});

/** A record of a standard queue, or, with a group, of a FIFO one; its body is its key. */
function record(messageId: string, body: string, group?: string): SQSRecord {
  return {
    messageId,
    body,
    eventSourceARN: `arn:aws:sqs:eu-west-1:1:orders${group === undefined ? "" : ".fifo"}`,
    attributes: { ...(group !== undefined && { MessageGroupId: group }) },
  } as SQSRecord;
}

type Work = (record: SQSRecord & { lock: Lock }, index: number) => unknown;

/** Processes a batch; resolves to the ids that go back to the queue. */
async function run(records: SQSRecord[], work: Work, options: Partial<LockRecordsOptions<SQSRecord>> = {}) {
  const handler = lockRecords<SQSRecord>({ url, token, key: ({ body }) => body, ...options }, (record) =>
    work(record, records.indexOf(record)),
  );
  const { batchItemFailures } = await handler({ Records: records }, lambda());
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

const ids = (count: number) => Array.from({ length: count }, (_, i) => `message-${i}`);

/** Each of its calls waits for `count` of them to have been made. */
function meeting(count: number) {
  const all = Promise.withResolvers<void>();
  let came = 0;
  return () => {
    if (++came === count) all.resolve();
    return all.promise;
  };
}

describe("of a batch of ten, one of them busy and one failing,", () => {
  test("exactly these two go back to a standard queue", async () => {
    const batch = ids(10).map((id) => record(id, freshKey()));
    const busy = await locker.acquire(batch[3]?.body as string);
    const done: number[] = [];
    const failures = await run(batch, (_, i) => {
      if (i === 7) throw new Error("out of stock");
      done.push(i);
    });
    expect(failures).toEqual(["message-3", "message-7"]);
    expect(done.sort()).toEqual([0, 1, 2, 4, 5, 6, 8, 9]);
    expect(await backend.raw.exists(...batch.map(({ body }) => `lock:{${body}}`))).toBe(1);
    await busy.release();
  });

  test("these two and what comes after them in their groups go back to a FIFO queue", async () => {
    // Messages 0, 2, 4, … are of group a, 1, 3, 5, … of group b; 8 and 9 of a third.
    const groups = ["a", "b", "a", "b", "a", "b", "a", "b", "c", "c"];
    const batch = ids(10).map((id, i) => record(id, freshKey(), groups[i]));
    const busy = await locker.acquire(batch[3]?.body as string);
    const done: number[] = [];
    const failures = await run(batch, async (_, i) => {
      if (i === 4) throw new Error("out of stock");
      done.push(i);
    });
    expect(failures).toEqual(["message-3", "message-4", "message-5", "message-6", "message-7"]);
    expect(done.sort()).toEqual([0, 1, 2, 8, 9]);
    await busy.release();
  });

  test("a group without a FIFO queue holds nothing back", async () => {
    const batch = ids(3).map((id) => record(id, freshKey()));
    // A standard queue may have groups too: there they say who shares it fairly, and promise no order.
    for (const { attributes } of batch) attributes.MessageGroupId = "a";
    const all = meeting(3);
    const failures = await run(batch, async (_, i) => {
      await all();
      if (i === 0) throw new Error("out of stock");
    });
    expect(failures).toEqual(["message-0"]);
  });
});

describe("order", () => {
  test("records of one key are processed in order, one after another", async () => {
    const [one, two] = [freshKey(), freshKey()];
    const batch = ids(8).map((id, i) => record(id, i % 2 ? one : two));
    const inside = new Map<string, number>();
    const done: number[] = [];
    const failures = await run(batch, async ({ body }, i) => {
      expect(inside.get(body) ?? 0).toBe(0);
      inside.set(body, 1);
      await backend.raw.ping();
      done.push(i);
      inside.set(body, 0);
    });
    expect(failures).toEqual([]);
    expect(done.filter((i) => i % 2)).toEqual([1, 3, 5, 7]);
    expect(done.filter((i) => i % 2 === 0)).toEqual([0, 2, 4, 6]);
  });

  test("a failed record of a key does not hold back the next of it, where no FIFO queue does", async () => {
    const key = freshKey();
    const done: number[] = [];
    const batch = ids(3).map((id) => record(id, key));
    const failures = await run(batch, (_, i) => {
      done.push(i);
      if (i === 0) throw new Error("out of stock");
    });
    expect(failures).toEqual(["message-0"]);
    expect(done).toEqual([0, 1, 2]);
  });

  test("records of one FIFO group are processed in order, whatever their keys", async () => {
    const batch = ids(6).map((id) => record(id, freshKey(), "a"));
    let inside = 0;
    const done: number[] = [];
    const failures = await run(batch, async (_, i) => {
      expect(inside++).toBe(0);
      await backend.raw.ping();
      done.push(i);
      inside--;
    });
    expect(failures).toEqual([]);
    expect(done).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test.each([
    [undefined, 10],
    [4, 4],
    [1, 1],
  ])(
    "with `concurrency: %s`, %i records of different keys are processed side by side",
    async (concurrency, most) => {
      const batch = ids(12).map((id) => record(id, freshKey()));
      // As many as may meet; were there fewer at once, they would wait for ever.
      const full = meeting(most);
      let inside = 0;
      let peak = 0;
      const failures = await run(
        batch,
        async () => {
          peak = Math.max(peak, ++inside);
          await full();
          await backend.raw.ping();
          inside--;
        },
        { concurrency },
      );
      expect(failures).toEqual([]);
      expect(peak).toBe(most);
    },
  );

  test.each([
    ["an object for one key", 1, (key: string) => ({ key })],
    ["three permits", 3, (key: string) => ({ key, limit: 3 })],
    ["permits of which two take two", 2, (key: string) => ({ key, limit: 5, weight: 2 })],
    ["readers", 6, (key: string) => ({ key, mode: "shared" as const })],
    ["several keys", 1, (key: string) => [`${key}-a`, { key: `${key}-b`, limit: 9 }]],
  ])("of one target, as many are processed side by side as it lets in: %s", async (_, most, target) => {
    const key = freshKey();
    const full = meeting(most);
    let inside = 0;
    let peak = 0;
    const failures = await run(
      ids(6).map((id) => record(id, key)),
      async () => {
        peak = Math.max(peak, ++inside);
        await full();
        await backend.raw.ping();
        inside--;
      },
      { key: ({ body }) => target(body) },
    );
    expect(failures).toEqual([]);
    expect(peak).toBe(most);
  });

  test.each<[string, ((key: string) => Targets)[]]>([
    ["a reader and a writer", [(key) => ({ key, mode: "shared" }), (key) => key]],
    ["permits and a writer", [(key) => ({ key, limit: 3 }), (key) => key, (key) => ({ key, limit: 3 })]],
    ["permits of several limits", [(key) => ({ key, limit: 2 }), (key) => ({ key, limit: 5, weight: 5 })]],
    ["permits of several weights", [1, 3, 2].map((weight) => (key) => ({ key, limit: 3, weight }))],
  ])("none of one key finds another of the batch in its way: %s", async (_, targets) => {
    const key = freshKey();
    const batch = targets.map((_, i) => record(`${i}`, key));
    const failures = await run(batch, () => backend.raw.ping(), {
      key: ({ messageId }) => targets[Number(messageId)]?.(key) as Targets,
    });
    expect(failures).toEqual([]);
  });

  test("records that wait for another of their key leave their places to the rest", async () => {
    const [one, two] = [freshKey(), freshKey()];
    const batch = [record("a", one), record("b", one), record("c", one), record("d", two)];
    const both = meeting(2);
    const failures = await run(batch, (_, i) => (i === 0 || i === 3 ? both() : undefined), {
      concurrency: 2,
    });
    expect(failures).toEqual([]);
  });
});

describe("a record fails alone", () => {
  test("whose key function throws, or returns no key", async () => {
    const batch = ids(4).map((id) => record(id, freshKey()));
    const errors: unknown[] = [];
    const done: number[] = [];
    const key = ({ messageId, body }: SQSRecord) => {
      if (messageId === "message-1") throw new Error("no order in it");
      return messageId === "message-2" ? "" : body;
    };
    const failures = await run(batch, (_, i) => done.push(i), {
      key,
      onError: (error) => errors.push(error),
    });
    expect(failures).toEqual(["message-1", "message-2"]);
    expect(done.sort()).toEqual([0, 3]);
    for (const error of errors) expect(error).toBeInstanceOf(LockOptionError);
    expect((errors[0] as Error).cause).toMatchObject({ message: "no order in it" });
  });

  test("whose key function throws; in a FIFO group with what comes after it", async () => {
    const batch = [record("a", "", "g"), record("b", freshKey(), "g"), record("c", freshKey(), "h")];
    expect(await run(batch, () => {})).toEqual(["a", "b"]);
  });

  test("whose lock was lost", async () => {
    const batch = ids(3).map((id) => record(id, freshKey()));
    const errors: unknown[] = [];
    const lose: Work = async ({ body }, i) => {
      if (i === 1) await backend.raw.del(`lock:{${body}}`);
    };
    expect(await run(batch, lose, { onError: (error) => errors.push(error) })).toEqual(["message-1"]);
    expect(errors).toEqual([expect.any(LockLostError)]);
    expect(await run(batch, lose, { onLost: "ignore" })).toEqual([]);
  });

  test("and is told to `onError` with why; what is held back by its group is not", async () => {
    const batch = [record("a", freshKey(), "g"), record("b", freshKey(), "g"), record("c", freshKey())];
    const busy = await locker.acquire(batch[2]?.body as string);
    const told: unknown[] = [];
    const failure = new Error("out of stock");
    const onError = (error: unknown, { messageId }: SQSRecord) => told.push([messageId, error]);
    const work = () => {
      throw failure;
    };
    expect(await run(batch, work, { onError })).toEqual(["a", "b", "c"]);
    expect(told).toHaveLength(2);
    expect(told).toContainEqual(["a", failure]);
    expect(told).toContainEqual(["c", expect.any(LockBusyError)]);
    expect(logged).not.toHaveBeenCalled();
    await busy.release();
  });

  test("and is logged where there is no `onError`, unless it was only busy", async () => {
    const batch = [record("a", freshKey()), record("b", freshKey())];
    const busy = await locker.acquire(batch[0]?.body as string);
    const failure = new Error("out of stock");
    await run(batch, () => Promise.reject(failure));
    expect(logged.mock.calls).toEqual([[failure]]);
    await busy.release();
  });

  test("where `onError` rejects, which ends no process", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const batch = [record("a", freshKey()), record("b", freshKey())];
    const failures = await run(batch, () => Promise.reject(new Error("out of stock")), {
      onError: () => Promise.reject(new Error("the error tracker is down")),
    });
    expect(failures).toEqual(["a", "b"]);
    // Node tells of a rejection that nobody handled before it goes on to what is next.
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  test("and `onError` has ended before the answer, after which a function may not go on", async () => {
    let told = false;
    const onError = async () => {
      await backend.raw.ping();
      told = true;
    };
    await run([record("a", freshKey())], () => Promise.reject(new Error("out of stock")), { onError });
    expect(told).toBe(true);
  });

  test("whose async key function rejects; all keys are made before any work", async () => {
    const batch = ids(3).map((id) => record(id, freshKey()));
    const happened: string[] = [];
    const key = async ({ messageId, body }: SQSRecord) => {
      await backend.raw.ping();
      happened.push("key");
      if (messageId === "message-1") throw new Error("no order in it");
      return body;
    };
    const failures = await run(batch, () => happened.push("work"), { key });
    expect(failures).toEqual(["message-1"]);
    expect(happened).toEqual(["key", "key", "key", "work", "work"]);
  });

  test("whatever it throws, and whatever `onError` does", async () => {
    const thrown = [
      undefined,
      null,
      "text",
      0,
      new LockBusyError("k", {}),
      Object.freeze(new Error("frozen")),
    ];
    const batch = thrown.map((_, i) => record(`message-${i}`, freshKey()));
    const onError = () => {
      throw new Error("not told");
    };
    const failures = await run(batch, (_, i) => Promise.reject(thrown[i]), { onError });
    expect(failures).toEqual(batch.map(({ messageId }) => messageId));
  });

  test("and all of them do where Redis cannot be asked", async () => {
    const batch = ids(3).map((id) => record(id, freshKey()));
    const nowhere = { url: "http://127.0.0.1:9", requestTimeout: 100 };
    const work = vi.fn();
    expect(await run(batch, work, nowhere)).toEqual(ids(3));
    expect(work).not.toHaveBeenCalled();
  });
});

const kinesis = (sequenceNumber: string, partitionKey: string) =>
  ({
    eventSource: "aws:kinesis",
    eventID: `shardId-000000000006:${sequenceNumber}`,
    kinesis: { partitionKey, sequenceNumber },
  }) as KinesisStreamRecord;
const dynamodb = (SequenceNumber: string, id: string) =>
  ({
    eventSource: "aws:dynamodb",
    eventID: `event ${SequenceNumber}`,
    dynamodb: { Keys: { id: { S: id } }, SequenceNumber },
  }) as DynamoDBRecord;

describe.each<[string, (sequence: string, key: string) => LambdaRecord]>([
  ["a Kinesis stream", kinesis],
  ["a DynamoDB stream", dynamodb],
])("a batch of %s", (_, make) => {
  /** Processes so many records, each of a key of its own; resolves to the answer and to those that were begun. */
  async function process(count: number, work: (index: number) => unknown, options: object = {}) {
    const keys = Array.from({ length: count }, freshKey);
    const Records = keys.map((key, i) => make(`100${i}`, key));
    const begun: number[] = [];
    const handler = lockRecords<LambdaRecord>(
      { url, token, key: (record) => keys[Records.indexOf(record)] as string, ...options },
      (record) => {
        expect(record.lock.held).toBe(true);
        const index = Records.indexOf(record);
        begun.push(index);
        return work(index);
      },
    );
    return { ...(await handler({ Records }, lambda())), begun, keys };
  }

  test("is processed one after another, whatever the keys and `concurrency`", async () => {
    let inside = 0;
    const work = async () => {
      expect(inside++).toBe(0);
      await backend.raw.ping();
      inside--;
    };
    const { batchItemFailures, begun } = await process(6, work, { concurrency: 5 });
    expect(batchItemFailures).toEqual([]);
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("stops at the first failure, which is answered by its sequence number", async () => {
    const work = (index: number) => (index === 2 ? Promise.reject(new Error("out of stock")) : undefined);
    const { batchItemFailures, begun } = await process(5, work);
    expect(batchItemFailures).toEqual([{ itemIdentifier: "1002" }]);
    expect(begun).toEqual([0, 1, 2]);
  });

  test("stops at a busy record, and at one without a key", async () => {
    const busy = await locker.acquire(freshKey());
    const atBusy = await process(3, () => {}, { key: () => busy.key });
    expect(atBusy).toMatchObject({ batchItemFailures: [{ itemIdentifier: "1000" }], begun: [] });
    await busy.release();
    const keyless = await process(3, () => {}, { key: async () => "" });
    expect(keyless).toMatchObject({ batchItemFailures: [{ itemIdentifier: "1000" }], begun: [] });
  });
});

test("records are told by what they are made of where they do not say where they come from", async () => {
  const { eventSource, ...plain } = kinesis("1000", freshKey());
  const handler = lockRecords<LambdaRecord>({ url, token, key: freshKey, onError() {} }, () => {
    throw new Error("out of stock");
  });
  expect(eventSource).toBe("aws:kinesis");
  expect(await handler({ Records: [plain as LambdaRecord] }, lambda())).toEqual({
    batchItemFailures: [{ itemIdentifier: "1000" }],
  });
});

test.each<[string, object | null, RegExp]>([
  ["Kafka", { eventSource: "aws:kafka", records: { "orders-0": [{}] } }, /"aws:kafka"/],
  ["S3", { Records: [{ eventSource: "aws:s3", s3: {} }] }, /"aws:s3"/],
  ["SNS", { Records: [{ EventSource: "aws:sns", Sns: {} }] }, /"aws:sns"/],
  ["a stream whose records have no number", { Records: [{ eventSource: "aws:dynamodb" }] }, /"aws:dynamodb"/],
  ["nobody", { Records: [{ body: "x" }, null] }, /no Records/],
  ["no event", null, /no Records/],
])("an event of another kind is refused by name, before any work: %s", async (_, event, said) => {
  const work = vi.fn();
  const handler = lockRecords<LambdaRecord>({ url, token, key: "k" }, work);
  const refused = handler(event as never, lambda());
  await expect(refused).rejects.toThrow(LockOptionError);
  await expect(refused).rejects.toThrow(/^event: got/);
  await expect(refused).rejects.toThrow(said);
  expect(work).not.toHaveBeenCalled();
});

describe("near the function's end", () => {
  /** A function's clock in the hands of a test. */
  const clock = (left: number) => {
    const context = lambda(0, { getRemainingTimeInMillis: () => now.left });
    const now = { left, context };
    return now;
  };
  type Step = (index: number, lock: Lock) => unknown;
  const start = (
    records: LambdaRecord[],
    keys: string[],
    context: ReturnType<typeof lambda>,
    work: Step,
    more: object,
  ) =>
    lockRecords<LambdaRecord>(
      { url, token, key: (record) => keys[records.indexOf(record)] as string, ...more },
      (record) => work(records.indexOf(record), record.lock),
    )({ Records: records }, context);

  test.each<[string, (id: string, key: string) => LambdaRecord, string[]]>([
    ["SQS", (id, key) => record(id, key), ["1002", "1003"]],
    ["a stream", kinesis, ["1002"]],
  ])("what is not begun is handed back, and what succeeded stays: %s", async (_, make, expected) => {
    const keys = Array.from({ length: 4 }, freshKey);
    const records = keys.map((key, i) => make(`100${i}`, key));
    const time = clock(30_000);
    const begun: number[] = [];
    const onError = vi.fn();
    const work = (index: number) => {
      begun.push(index);
      // It took nearly all the time there was.
      if (index === 1) time.left = 1500;
    };
    const answer = await start(records, keys, time.context, work, { concurrency: 1, onError, holdFor: "1h" });
    expect(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)).toEqual(expected);
    expect(begun).toEqual([0, 1]);
    expect(onError).not.toHaveBeenCalled();
    const kept = keys.map((key) => backend.raw.exists(`lock:{${key}}`));
    expect(await Promise.all(kept)).toEqual([1, 1, 0, 0]);
  });

  test("what is still at work is handed back, told, and neither renewed nor released", async () => {
    const keys = [freshKey(), freshKey()];
    const records = keys.map((key, i) => record(`100${i}`, key));
    const time = clock(30_000);
    const events: string[] = [];
    const onEvent = ({ type, key }: { type: string; key: string }) => key === keys[1] && events.push(type);
    const onError = vi.fn();
    const begun = Promise.withResolvers<Lock>();
    const answer = start(
      records,
      keys,
      time.context,
      (index, lock) => {
        if (index === 0) return;
        begun.resolve(lock);
        return new Promise(() => {});
      },
      { onError, onEvent, ttl: 300 },
    );
    const lock = await begun.promise;
    time.left = 900;
    expect(await answer).toEqual({ batchItemFailures: [{ itemIdentifier: "1001" }] });
    expect(onError.mock.calls).toEqual([[expect.objectContaining({ name: "TimeoutError" }), records[1]]]);
    await until(() => lock.signal.aborted);
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    await until(async () => !(await backend.raw.exists(`lock:{${lock.key}}`)));
    expect(events).not.toContain("released");
  });

  test("what waits for its lock is handed back, and not begun when it gets that", async () => {
    const key = freshKey();
    const busy = await locker.acquire(key, { ttl: "1m" });
    const time = clock(30_000);
    const events: string[] = [];
    const work = vi.fn();
    const answer = start([record("1000", key)], [key], time.context, work, {
      wait: "1m",
      onEvent: ({ type }: { type: string }) => events.push(type),
      onError() {},
    });
    await until(() => events.includes("waiting"));
    time.left = 900;
    expect(await answer).toEqual({ batchItemFailures: [{ itemIdentifier: "1000" }] });
    await busy.release();
    await until(() => events.includes("released"));
    expect(work).not.toHaveBeenCalled();
    await until(async () => !(await backend.raw.exists(`lock:{${key}}`)));
  });

  test("a function that knows no time has no limit", async () => {
    const key = freshKey();
    const context = { getRemainingTimeInMillis: vi.fn() } as unknown as ReturnType<typeof lambda>;
    const work = vi.fn();
    expect(await start([record("1000", key)], [key], context, work, {})).toEqual({ batchItemFailures: [] });
    expect(work).toHaveBeenCalledOnce();
  });
});

test("frozen records and no context at all are worked with", async () => {
  const batch = [Object.freeze(record("a", freshKey()))];
  const seen: unknown[] = [];
  const handler = lockRecords<SQSRecord>({ url, token, key: ({ body }) => body }, (record) => {
    seen.push(record.lock.held, record.messageId, JSON.stringify(record).includes(record.lock.token));
  });
  expect(await handler({ Records: batch }, undefined as never)).toEqual({ batchItemFailures: [] });
  expect(seen).toEqual([true, "a", false]);
});

test("each record has its own lock, hidden from what logs the record", async () => {
  const batch = ids(5).map((id) => record(id, freshKey()));
  const all = meeting(5);
  const failures = await run(batch, async (record) => {
    await all();
    const { lock } = record;
    expect([lock.key, lock.held, lock.owner]).toEqual([record.body, true, "charge request-1"]);
    expect(JSON.stringify(record)).not.toContain(lock.token);
  });
  expect(failures).toEqual([]);
});

test("with `wait` a busy record is processed once its lock is free", async () => {
  const key = freshKey();
  const busy = await locker.acquire(key);
  const waiting = Promise.withResolvers<void>();
  const onEvent = ({ type }: { type: string }) => type === "waiting" && waiting.resolve();
  const done = run([record("a", key)], ({ lock }) => expect(lock.held).toBe(true), { wait: "1m", onEvent });
  await waiting.promise;
  await busy.release();
  expect(await done).toEqual([]);
});

test("an empty batch is no failure, and what is no batch is refused", async () => {
  expect(await run([], () => {})).toEqual([]);
  const handler = lockRecords({ url, token, key: "k" }, () => {});
  await expect(handler({} as never, lambda())).rejects.toThrow(/^event: .*Records/);
});

test.each<[object, unknown, string]>([
  [{ key: "" }, () => {}, "key"],
  [{ key: "k", ifBusy: "skip" }, () => {}, "ifBusy"],
  [{ key: "k", concurrency: 0 }, () => {}, "concurrency"],
  [{ key: "k", concurrency: 1.5 }, () => {}, "concurrency"],
  [{ key: "k", concurrency: "5" }, () => {}, "concurrency"],
  [{ key: "k", onError: "log" }, () => {}, "onError"],
  [{ key: "k", ttl: "never" }, () => {}, "ttl"],
  [{ key: "k" }, undefined, "handler"],
])("a wrong option is refused as soon as it is given: %j", (options, work, option) => {
  const wrap = () => lockRecords({ url, token, ...options } as never, work as never);
  expect(wrap).toThrow(LockOptionError);
  expect(wrap).toThrow(new RegExp(`^${option}: `));
});

test("an onError that never ends keeps no record behind it from its turn, nor the batch from its answer", async () => {
  const key = freshKey();
  const work = vi.fn(() => Promise.reject(new Error("out of stock")));
  const stuck = { onError: () => new Promise(() => {}), requestTimeout: 500 };
  expect(await run([record("a", key), record("b", key)], work, stuck)).toEqual(["a", "b"]);
  expect(work).toHaveBeenCalledTimes(2);
});
