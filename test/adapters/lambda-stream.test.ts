import { once } from "node:events";
import { createReadStream } from "node:fs";
import { PassThrough, Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { afterAll, describe, expect, test, vi } from "vitest";
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
  expect(happened).toEqual(["asked", "acquired", "finished", "returned", "released"]);
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
  expect(happened).toEqual(["asked", "acquired", "returned", "finished", "released"]);
  expect(await held(id)).toBe(false);
});

test("a stream that breaks after the handler returned releases the lock, and is no success", async () => {
  const id = freshKey();
  const source = Readable.from(["one ", "two"]);
  const { stream, happened, ended } = run(id, (_, stream) => void source.pipe(stream), { holdFor: "1h" });
  await until(() => happened.includes("returned") && stream.chunks.length);
  stream.destroy(new Error("the client went away"));
  await ended.catch(() => {});
  expect(happened).toEqual(["asked", "acquired", "returned", "released"]);
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
  expect(happened).toEqual(["asked", "acquired", "returned", "released"]);
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
  expect(happened).toEqual(["asked", "acquired", "released"]);
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
  expect(answered.happened).toEqual(["asked", "busy"]);
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
  expect(events).toEqual(["asked", "acquired", "released"]);
});

/** Locks a handler whose result holds a stream, with what happens to the lock. */
async function answered<Result>(make: () => Result, options: object = {}) {
  const key = freshKey();
  const events: string[] = [];
  const onEvent = ({ type }: LockEvent) => events.push(type);
  const handler = lockHandler({ url, token, key, onEvent, ...options }, make);
  // For as long as it may run, a lock would be renewed.
  const answer = await handler({}, lambda(900_000));
  return { answer, events, freed: until(async () => !(await held(key))), isHeld: () => held(key) };
}

interface Kind {
  kind: string;
  /** Brings these parts, then nothing more, without an end; `ended` is called when it is cancelled or destroyed. */
  idle(parts: string[], ended: () => void): object;
  /** Fails at once. */
  failing(error: Error): object;
  /** Idle; fails when it is cancelled. */
  failsLeaving(error: Error): object;
}

const never = new Promise<never>(() => {});
// TypeScript's library does not know it yet.
const webStream = (ReadableStream as unknown as { from(parts: Iterable<unknown>): ReadableStream }).from;

const kinds: Kind[] = [
  {
    kind: "a Node stream",
    idle: (parts, ended) =>
      new Readable({
        read() {
          if (parts.length > 0) this.push(parts.shift());
        },
        destroy(error, done) {
          ended();
          done(error);
        },
      }),
    failing: (error) => new PassThrough().destroy(error),
    failsLeaving: (error) => new Readable({ read() {}, destroy: (_, done) => done(error) }),
  },
  ...([undefined, "bytes"] as const).map((type) => ({
    kind: `a web stream of ${type ?? "anything"}`,
    idle: (parts: string[], ended: () => void) =>
      new ReadableStream({
        type,
        pull(controller: ReadableStreamDefaultController) {
          const part = parts.shift();
          if (part === undefined) return never;
          controller.enqueue(new TextEncoder().encode(part));
        },
        cancel: ended,
      } as UnderlyingDefaultSource),
    failing: (error: Error) =>
      new ReadableStream({ type, start: (controller) => controller.error(error) } as UnderlyingDefaultSource),
    failsLeaving: (error: Error) =>
      new ReadableStream({ type, cancel: () => Promise.reject(error) } as UnderlyingDefaultSource),
  })),
  {
    kind: "an async iterable",
    idle: (parts, ended) => ({
      [Symbol.asyncIterator]: () => ({
        next: () => (parts.length ? Promise.resolve({ value: parts.shift(), done: false }) : never),
        async return() {
          ended();
          return { value: undefined, done: true };
        },
      }),
    }),
    failing: (error) => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) }),
    failsLeaving: (error) => ({
      [Symbol.asyncIterator]: () => ({ next: () => never, return: () => Promise.reject(error) }),
    }),
  },
];

type Body = Readable | ReadableStream;

/** Reads a part, waits for the next one, and leaves meanwhile. */
async function leaveWhileWaiting(body: Body): Promise<void> {
  if (body instanceof Readable) {
    await once(body, "data");
    body.destroy();
    return;
  }
  const reader = body.getReader();
  await reader.read();
  reader.read().catch(() => {});
  await reader.cancel();
}

async function readAll(body: AsyncIterable<unknown> | Body): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of body as AsyncIterable<unknown>) parts.push(part);
  return parts;
}

describe.each(kinds)("$kind", ({ idle, failing, failsLeaving }) => {
  test("that is idle when its reader leaves is ended at once, and the lock released", async () => {
    const ended = vi.fn();
    const { answer, freed, events } = await answered(() => ({ body: idle(["one"], ended) as Body }), {
      ttl: "1h",
    });
    await leaveWhileWaiting(answer.body);
    await until(() => ended.mock.calls.length);
    await freed;
    expect(events).toEqual(["asked", "acquired", "released"]);
  });

  test("that is left in the middle of a loop is ended", async () => {
    const ended = vi.fn();
    const { answer, freed } = await answered(() => idle(["one", "two", "three"], ended) as Body, {
      ttl: "1h",
    });
    for await (const part of answer as AsyncIterable<Uint8Array>) {
      expect(String(Buffer.from(part))).toBe("one");
      break;
    }
    await freed;
    expect(ended).toHaveBeenCalledOnce();
  });

  test("that nobody reads lets the lease end, is ended, and whoever reads it then is told", async () => {
    const ended = vi.fn();
    const { answer, freed, events } = await answered(() => idle(["one"], ended) as Body, { ttl: 200 });
    await until(() => events.includes("lost"));
    await freed;
    expect(events).not.toContain("renewed");
    await until(() => ended.mock.calls.length);
    await expect(readAll(answer)).rejects.toBeInstanceOf(LockLostError);
  });

  test("whose reader waits in vain lets the lease end, and tells the reader", async () => {
    const ended = vi.fn();
    const { answer } = await answered(() => idle(["one"], ended) as Body, { ttl: 200 });
    await expect(readAll(answer)).rejects.toBeInstanceOf(LockLostError);
    expect(ended).toHaveBeenCalledOnce();
  });

  test("whose `signal` option aborts is ended, and tells its reader why", async () => {
    const ended = vi.fn();
    const stop = new AbortController();
    const { answer, freed, events } = await answered(() => idle(["one"], ended) as Body, {
      ttl: "1h",
      signal: stop.signal,
    });
    const told = readAll(answer).catch((error) => error);
    const reason = new Error("the deployment is stopped");
    stop.abort(reason);
    expect(await told).toBe(reason);
    await freed;
    expect(ended).toHaveBeenCalledOnce();
    expect(events).toEqual(["asked", "acquired", "released"]);
  });

  test("whose lock the work released itself goes on", async () => {
    let release = async () => true;
    const handler = lockHandler({ url, token, key: freshKey() }, (_, { lock }) => {
      release = () => lock.release();
      return idle(["one", "two"], () => {}) as Body;
    });
    const body = await handler({}, lambda());
    expect(await release()).toBe(true);
    const parts: string[] = [];
    for await (const part of body as AsyncIterable<Uint8Array>) {
      parts.push(String(Buffer.from(part)));
      if (parts.length === 2) break;
    }
    expect(parts).toEqual(["one", "two"]);
  });

  test("that fails before it is read ends no process, releases the lock, and tells whoever reads it", async () => {
    const failure = new Error("no such file");
    const { answer, freed } = await answered(() => ({ body: failing(failure) as Body }), { ttl: "1h" });
    // An async iterable fails only when it is asked.
    const told = readAll(answer.body).catch((error) => error);
    await freed;
    expect(await told).toBe(failure);
  });

  test("that fails when it is cancelled ends no process, and releases the lock", async () => {
    const { answer, freed } = await answered(() => failsLeaving(new Error("no more")) as Body, { ttl: "1h" });
    if (answer instanceof Readable) answer.destroy();
    else await answer.cancel();
    await freed;
  });
});

test("a Node stream that fails long before it is read ends no process, and tells whoever reads it", async () => {
  const { answer, freed } = await answered(() => createReadStream("/there/is/no/such/file"), { ttl: "1h" });
  await freed;
  const told = once(answer, "end").catch((error) => error);
  answer.resume();
  expect(await told).toMatchObject({ code: "ENOENT" });
});

test("a Node stream whose lock is lost tells a client that stands still, at once", async () => {
  const { answer, events } = await answered(() => Readable.from(["one ", "two ", "three"]), { ttl: 200 });
  // It never asks for more than the first chunk.
  const piping = pipeline(answer as Readable, new Client());
  await expect(piping).rejects.toBeInstanceOf(LockLostError);
  expect(events).toContain("lost");
});

test("a Node stream is handed on as what it is: objects, texts or bytes, paced by its reader", async () => {
  const objects = [{ a: 1 }, { a: 2 }, { a: 3 }];
  const { answer: ofObjects } = await answered(() => Readable.from(objects));
  expect(ofObjects.readableObjectMode).toBe(true);
  expect(await readAll(ofObjects)).toEqual(objects);

  const { answer: ofTexts } = await answered(() => new PassThrough({ encoding: "utf8" }).end("naïve – 😀"));
  expect(await readAll(ofTexts)).toEqual(["naïve – 😀"]);
  const { answer: ofHex } = await answered(() => new PassThrough({ encoding: "hex" }).end("one"));
  expect(await readAll(ofHex)).toEqual(["6f6e65"]);
  const { answer: ofBytes } = await answered(() => new PassThrough().end("one"));
  expect(await readAll(ofBytes)).toEqual([Buffer.from("one")]);

  let made = 0;
  const endless = new Readable({
    objectMode: true,
    highWaterMark: 1,
    read() {
      this.push(++made);
    },
  });
  const { answer: slow } = await answered(() => endless);
  await once(slow, "readable");
  await new Promise((resolve) => setImmediate(resolve));
  expect(made).toBeLessThan(4);
  slow.destroy();
});

test("a stream that was read before, or that is empty, is at its end", async () => {
  const read = Readable.from(["one"]);
  await readAll(read);
  for (const source of [read, new PassThrough().end(), webStream([])]) {
    const { answer, freed } = await answered(() => source as Body);
    expect(await readAll(answer)).toEqual([]);
    await freed;
  }
});

test("a web stream that somebody else reads is handed on as it is, and the lock released", async () => {
  const source = webStream(["one"]);
  const reader = source.getReader();
  const { answer, freed } = await answered(() => ({ body: source }));
  await freed;
  expect(answer.body).toBe(source);
  await reader.cancel();
});

test("a body that gets on keeps its lock past many leases", async () => {
  const { answer, events } = await answered(
    () =>
      Readable.from(
        (async function* () {
          while (events.filter((type) => type === "renewed").length < 4) {
            yield "more";
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        })(),
      ),
    { ttl: 300 },
  );
  await readAll(answer);
  expect(events.at(-1)).toBe("released");
  expect(events).not.toContain("lost");
});

describe("a result with a streamed body", () => {
  class Answer {
    #status = 201;
    readonly source = Readable.from(["one"]);
    get statusCode() {
      return this.#status;
    }
    get body() {
      return this.source;
    }
    describe() {
      return `answer ${this.#status}`;
    }
  }

  test("of a class stays one, with its getters and methods", async () => {
    const result = new Answer();
    const { answer, isHeld } = await answered(() => result);
    expect(answer).toBeInstanceOf(Answer);
    expect([answer.statusCode, answer.describe()]).toEqual([201, "answer 201"]);
    expect(await isHeld()).toBe(true);
    expect(await readAll(answer.body)).toEqual(["one"]);
    expect(await isHeld()).toBe(false);
  });

  test("that is frozen is copied, with its prototype", async () => {
    const prototype = { kind: "answer" };
    const result = Object.freeze(
      Object.assign(Object.create(prototype), { statusCode: 200, body: Readable.from(["one"]) }),
    );
    const { answer, isHeld } = await answered<{ statusCode: number; kind: string; body: Readable }>(
      () => result,
    );
    expect([answer.statusCode, answer.kind]).toEqual([200, "answer"]);
    expect(await isHeld()).toBe(true);
    expect(await readAll(answer.body)).toEqual(["one"]);
    expect(await isHeld()).toBe(false);
  });

  test("that is a Response stays one", async () => {
    const { answer, isHeld } = await answered(
      () => new Response("one", { status: 201, headers: { a: "b" } }),
    );
    expect(answer).toBeInstanceOf(Response);
    expect([answer.status, answer.headers.get("a")]).toEqual([201, "b"]);
    expect(await isHeld()).toBe(true);
    expect(await answer.text()).toBe("one");
    expect(await isHeld()).toBe(false);
  });

  test("of 5xx is no success, also when it is read to its end", async () => {
    const result = { statusCode: 502, body: Readable.from(["one"]) };
    const { answer, isHeld } = await answered(() => result, { holdFor: "1h" });
    await readAll(answer.body);
    expect(await isHeld()).toBe(false);
  });

  test("whose lock was lost before it could be read is an error, and its source is ended", async () => {
    const source = new PassThrough();
    const handler = lockHandler(
      { url, token, key: freshKey(), ttl: 100, renew: false },
      async (_, { lock }) => {
        await until(() => lock.signal.aborted);
        return { statusCode: 200, body: source };
      },
    );
    await expect(handler({}, lambda())).rejects.toBeInstanceOf(LockLostError);
    expect(source.destroyed).toBe(true);
  });
});

describe("a stream of awslambda.streamifyResponse that is still written to after the return", () => {
  test("keeps its lock past many leases while it gets on", async () => {
    const { stream, happened, ended } = run(
      freshKey(),
      (_, stream) => {
        const timer = setInterval(() => {
          stream.write("more ");
          if (happened.filter((type) => type === "renewed").length < 4) return;
          clearInterval(timer);
          stream.end();
        }, 20);
      },
      { ttl: 300 },
    );
    stream.readOn();
    await ended;
    expect(happened.at(-1)).toBe("released");
    expect(happened).not.toContain("lost");
  });

  test("loses it when nothing is written any more: the stream is destroyed, and the invocation fails", async () => {
    const id = freshKey();
    const { stream, happened, ended } = run(id, (_, stream) => void stream.write("one"), { ttl: 200 });
    const failure = await ended.catch((error) => error);
    expect(failure).toBeInstanceOf(LockLostError);
    expect(stream.destroyed).toBe(true);
    expect(stream.errored).toBe(failure);
    expect(happened).not.toContain("renewed");
    expect(await held(id)).toBe(false);
  });

  test('goes on without its lock with `onLost: "ignore"`', async () => {
    const { stream, happened, ended } = run(freshKey(), (_, stream) => void stream.write("one"), {
      ttl: 200,
      onLost: "ignore",
    });
    await until(() => happened.includes("lost"));
    expect(stream.destroyed).toBe(false);
    stream.readOn();
    stream.end("two");
    await ended;
    expect(stream.chunks).toEqual(["one", "two"]);
  });
});

test("the callback that Lambda hands on up to Node 22 is no stream", async () => {
  const handler = lockHandler({ url, token, key: freshKey() }, async (_, context) => [
    context.functionName,
    context.lock.held,
  ]);
  const call = handler as (...input: unknown[]) => Promise<unknown>;
  expect(await call({}, lambda(), () => {})).toEqual(["charge", true]);
});
