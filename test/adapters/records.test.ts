import type { SQSRecord } from "aws-lambda";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type LockRecordsOptions, lockRecords } from "../../src/adapters/lambda.ts";
import { type Lock, LockBusyError, LockLostError, LockOptionError } from "../../src/index.ts";
import { engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { lambda } from "../helpers/lambda.ts";

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
