import { once } from "node:events";
import { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { afterAll, expect, test } from "vitest";
import { type LambdaContext, lockHandler } from "../../src/adapters/lambda.ts";
import { type Lock, LockBusyError, type LockEvent, LockLostError } from "../../src/index.ts";
import { engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { lambda } from "../helpers/lambda.ts";
import { until } from "../helpers/waiter.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const { url, token } = backend.server;
const held = (key: string) => backend.raw.exists(`lock:{${key}}`).then(Boolean);

interface Event {
  id: string;
}
type Context = LambdaContext & { lock: Lock };
type Handler = (event: Event, stream: Client, context: Context) => void | Promise<void>;

/** The client at the other end of a response: each chunk waits until it is read. */
class Client extends Writable {
  readonly chunks: string[] = [];
  #read: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(chunk: unknown, _: unknown, done: () => void): void {
    this.chunks.push(String(chunk));
    this.#read = done;
  }

  /** Reads what came, and all that comes from now on. */
  readOn(): void {
    this._write = (chunk, _, done) => {
      this.chunks.push(String(chunk));
      done();
    };
    this.#read?.();
  }
}

/** Runs a handler on a stream; `happened` is what came to pass, in order. */
function run(id: string, handler: Handler, options: object = {}) {
  const stream = new Client();
  const happened: string[] = [];
  stream.once("finish", () => happened.push("finished"));
  const onEvent = ({ type }: LockEvent) => happened.push(type);
  const locked = lockHandler<Event, Client>(
    {
      url,
      token,
      key: (event: Event, given: Client) => (given === stream ? event.id : ""),
      onEvent,
      ...options,
    },
    async (event: Event, given: Client, context: Context) => {
      await handler(event, given, context);
      happened.push("returned");
    },
  );
  return { stream, happened, ended: locked({ id }, stream, lambda()) };
}

test("the lock is held while the handler streams, and released when it returns", async () => {
  const id = freshKey();
  const { stream, happened, ended } = run(id, (_, stream, { lock }) =>
    pipeline(Readable.from(["one ", "two ", lock.key]), stream),
  );
  await until(() => stream.chunks.length);
  expect(await held(id)).toBe(true);
  stream.readOn();
  await ended;
  expect(stream.chunks.join("")).toBe(`one two ${id}`);
  expect(happened).toEqual(["acquired", "finished", "returned", "released"]);
  expect(await held(id)).toBe(false);
});

test("a handler that returns while something is still piped keeps the lock to the end of it", async () => {
  const id = freshKey();
  const { stream, happened, ended } = run(
    id,
    (_, stream) => void Readable.from(["one ", "two"]).pipe(stream),
  );
  await until(() => happened.includes("returned") && stream.chunks.length);
  expect(await held(id)).toBe(true);
  stream.readOn();
  await ended;
  expect(stream.chunks.join("")).toBe("one two");
  expect(happened).toEqual(["acquired", "returned", "finished", "released"]);
  expect(await held(id)).toBe(false);
});

test("a stream that breaks after the handler returned releases the lock, and is no success", async () => {
  const id = freshKey();
  const source = Readable.from(["one ", "two"]);
  const { stream, happened, ended } = run(id, (_, stream) => void source.pipe(stream), { holdFor: "1h" });
  await until(() => happened.includes("returned") && stream.chunks.length);
  stream.destroy(new Error("the client went away"));
  await ended.catch(() => {});
  expect(happened).toEqual(["acquired", "returned", "released"]);
  // After a success it would be kept for an hour.
  expect(await held(id)).toBe(false);
});

test("a stream that broke before the handler returned releases the lock", async () => {
  const id = freshKey();
  const { happened } = run(
    id,
    async (_, stream) => {
      stream.destroy();
      await once(stream, "close");
    },
    { ttl: 200, holdFor: "1h" },
  );
  // Were it waited for, the lock would be renewed.
  await until(() => happened.includes("released") || happened.includes("renewed"));
  expect(happened).toEqual(["acquired", "returned", "released"]);
  expect(await held(id)).toBe(false);
});

test("nothing is returned beside the stream: Lambda warns of that", async () => {
  const { stream, ended } = run(freshKey(), (_, stream) => void stream.end("one"));
  stream.readOn();
  expect(await ended).toBe(undefined);
});

test("a handler's error wins, and nothing waits for its stream any more", async () => {
  const id = freshKey();
  const failure = new Error("the source dried up");
  const { happened, ended } = run(id, async (_, stream) => {
    stream.write("one");
    throw failure;
  });
  await expect(ended).rejects.toBe(failure);
  expect(happened).toEqual(["acquired", "released"]);
  expect(await held(id)).toBe(false);
});

test("a lock lost while something is still piped is an error once that has ended", async () => {
  const id = freshKey();
  const { stream, happened, ended } = run(
    id,
    (_, stream) => void Readable.from(["one ", "two"]).pipe(stream),
  );
  await until(() => happened.includes("returned") && stream.chunks.length);
  await backend.raw.del(`lock:{${id}}`);
  stream.readOn();
  await expect(ended).rejects.toBeInstanceOf(LockLostError);
  expect(stream.writableFinished).toBe(true);
});

test("while another holds the lock the stream is left alone, or gets the answer", async () => {
  const id = freshKey();
  const lock = await lockerAt(backend.server).acquire(id);
  const refused = run(id, () => {});
  await expect(refused.ended).rejects.toBeInstanceOf(LockBusyError);
  expect(refused.stream.writableEnded).toBe(false);

  const ifBusy = (error: LockBusyError, { id }: Event, stream: Client) =>
    void stream.end(`${error.code} ${id}`);
  const answered = run(id, () => {}, { ifBusy });
  await answered.ended;
  expect(answered.happened).toEqual(["busy"]);
  expect(answered.stream.chunks).toEqual([`LOCK_BUSY ${id}`]);
  expect(await lock.release()).toBe(true);
});

test("a handler that is skipped ends its stream, for which Lambda would wait", async () => {
  const id = freshKey();
  const lock = await lockerAt(backend.server).acquire(id);
  const skipped = run(id, () => {}, { ifBusy: "skip" });
  await skipped.ended;
  await until(() => skipped.stream.writableFinished);
  expect(skipped.stream.chunks).toEqual([]);
  expect(await lock.release()).toBe(true);
});

test("a response whose body is a stream keeps the lock until its last byte is read", async () => {
  const id = freshKey();
  const events: string[] = [];
  const handler = lockHandler(
    { url, token, key: id, onEvent: ({ type }) => events.push(type) },
    async () => ({ statusCode: 200, headers: { a: "b" }, body: Readable.from(["one ", "two"]) }),
  );
  const { body, ...rest } = await handler({}, lambda());
  expect(rest).toEqual({ statusCode: 200, headers: { a: "b" } });
  expect(await held(id)).toBe(true);
  expect(await text(body)).toBe("one two");
  expect(events).toEqual(["acquired", "released"]);
});

test("the callback that Lambda hands on up to Node 22 is no stream", async () => {
  const handler = lockHandler({ url, token, key: freshKey() }, async (_, context) => [
    context.functionName,
    context.lock.held,
  ]);
  const call = handler as (...input: unknown[]) => Promise<unknown>;
  expect(await call({}, lambda(), () => {})).toEqual(["charge", true]);
});
