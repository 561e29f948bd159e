import { dump, encode, undump } from "./embedded-data.ts";
import { readTrim, type Trim } from "./embedded-trim.ts";
import { globMatches } from "./glob.ts";
import type { EmbeddedEngine } from "./optional-packages.ts";
import { KNOWN_FLAGS } from "./script-flags.ts";

// What the embedded engine (js-redis-server 0.3.0) lacks, or does otherwise than Redis 8.6.3 was seen to do. Added to
// the engine itself, so that scripts have it too.

type Definition = Parameters<EmbeddedEngine["CommandRegistry"]["prototype"]["override"]>[0];
type Context = Parameters<Definition["execute"]>[1];
type Data = Parameters<EmbeddedEngine["cloneRedisDataValue"]>[0];
type Stream = Extract<Data, { type: "stream" }>;
type StreamId = Stream["lastId"];
type Flags = Definition["flags"];

/**
 * @param existing a command that the engine has.
 * @returns the commands to add, and those that take the place of the engine's own.
 */
export function embeddedCommands(
  engine: EmbeddedEngine,
  existing: (name: string) => Definition | undefined,
): Definition[] {
  const { RedisResult, RedisValue, RedisCommandError, RedisSyntaxError, t } = engine;
  const integer = (value: number) => RedisResult.create(RedisValue.integer(value));
  const integers = (values: number[]) =>
    RedisResult.create(RedisValue.array(values.map((value) => RedisValue.integer(value))));
  const bulk = (value: Buffer | null) => RedisResult.create(RedisValue.bulkString(value));

  /** A command that reads its arguments itself. */
  function command(
    name: string,
    flags: Flags,
    least: number,
    keys: (args: Buffer[]) => Buffer[],
    execute: (args: Buffer[], ctx: Context) => ReturnType<Definition["execute"]>,
  ): Definition {
    return engine.defineCommand<{ args: Buffer[] }>({
      name,
      flags,
      schema: t.object({ args: t.variadic(t.bulk(), { min: least }) }),
      keys: ({ args }) => keys(args),
      execute: ({ args }, ctx) => execute(args, ctx),
    }) as Definition;
  }
  const firstKey = (args: Buffer[]) => args.slice(0, 1);
  const noKey = () => [];

  /** The engine's own command with something changed. */
  function changed(name: string, change: (own: Definition) => Partial<Definition>): Definition {
    const own = existing(name);
    if (!own) throw new Error(`The embedded engine has no ${name}`);
    return { ...own, ...change(own) };
  }

  /** The same command, which reads its arguments after they were changed. */
  function readsOtherwise(name: string, rewrite: (args: readonly Buffer[]) => Buffer[]): Definition {
    return changed(name, (own) => ({
      schema: {
        parse(input, index, ctx) {
          const args = rewrite(input.slice(index));
          const { value, nextIndex } = own.schema.parse([...input.slice(0, index), ...args], index, ctx);
          return { value, nextIndex: nextIndex + input.length - index - args.length };
        },
      },
    }));
  }

  const number = (text: Buffer | undefined) => (/^\d+$/.test(`${text}`) ? Number(text) : Number.NaN);

  const echo = command("echo", ["fast"], 1, noKey, ([message, ...more]) => {
    if (more.length > 0) throw new engine.WrongNumberOfArgumentsError("echo");
    return bulk(message ?? null);
  });

  // It has no replicas. Upstash keeps what it confirms, so a made-up 1 stands for the local copy.
  const wait = command("wait", ["noscript"], 2, noKey, (args) => {
    checkWait("wait", args, 2);
    return integer(0);
  });
  const waitAof = command("waitaof", ["noscript"], 3, noKey, (args) => {
    checkWait("waitaof", args, 3);
    if (!/^[01]$/.test(`${args[0]}`)) {
      throw new RedisCommandError("value is out of range, value must between 0 and 1");
    }
    return integers([1, 0]);
  });
  function checkWait(name: string, args: Buffer[], count: number): void {
    if (args.length !== count) throw new engine.WrongNumberOfArgumentsError(name);
    if (args.some((arg) => !INTEGER.test(`${arg}`))) throw new engine.ExpectedIntegerError();
    if (Number(args.at(-1)) < 0) throw new RedisCommandError("timeout is negative");
  }

  /** HEXPIRETIME and HPEXPIRETIME read their arguments as HTTL does. */
  function fieldTimes(name: string, unit: number): Definition {
    return changed("httl", () => ({
      name,
      execute(args, ctx) {
        const { key, fields } = args as { key: Buffer; fields: Buffer[] };
        const hash = ctx.db.getHash(key);
        const ends = fields.map((field) => hash?.fields.get(field.toString("hex")));
        return integers(
          ends.map((entry) => {
            if (!entry || (entry.expiresAt ?? Number.POSITIVE_INFINITY) <= Date.now()) return -2;
            return entry.expiresAt === undefined ? -1 : Math.ceil(entry.expiresAt / unit);
          }),
        );
      },
    }));
  }

  const memory = command(
    "memory",
    ["readonly"],
    1,
    (args) => args.slice(1, 2),
    (args, ctx) => {
      const [subcommand, key, option, samples, ...more] = args;
      if (`${subcommand}`.toUpperCase() !== "USAGE") throw new RedisSyntaxError();
      if (key === undefined) throw new engine.WrongNumberOfArgumentsError("memory|usage");
      const asksSamples = `${option}`.toUpperCase() === "SAMPLES" && samples !== undefined;
      if (asksSamples && !INTEGER.test(`${samples}`)) throw new engine.ExpectedIntegerError();
      if (option !== undefined && (!asksSamples || more.length > 0)) throw new RedisSyntaxError();
      const value = ctx.db.get(key);
      // Nearly what Redis would take: its own figure depends on how it was built.
      return value ? integer(32 + key.length + encode(value).length) : bulk(null);
    },
  );

  const dumpCommand = command("dump", ["readonly"], 1, firstKey, (args, ctx) => {
    const [key, ...more] = args as [Buffer, ...Buffer[]];
    if (more.length > 0) throw new engine.WrongNumberOfArgumentsError("dump");
    const value = ctx.db.get(key);
    return bulk(value ? dump(value) : null);
  });

  const restore = command("restore", ["write", "denyoom"], 3, firstKey, (args, ctx) => {
    const [key, ttl, payload, ...options] = args as [Buffer, Buffer, Buffer, ...Buffer[]];
    const words = options.map((option) => `${option}`.toUpperCase());
    for (let i = 0; i < words.length; i++) {
      const takesNumber = words[i] === "IDLETIME" || words[i] === "FREQ";
      if (takesNumber && !Number.isNaN(number(options[i + 1]))) i++;
      else if (words[i] !== "REPLACE" && words[i] !== "ABSTTL") throw new RedisSyntaxError();
    }
    if (!words.includes("REPLACE") && ctx.db.getType(key) !== null) {
      return RedisResult.error("Target key name already exists.", "BUSYKEY");
    }
    if (!/^-?\d+$/.test(`${ttl}`)) throw new engine.ExpectedIntegerError();
    if (Number(ttl) < 0) throw new RedisCommandError("Invalid TTL value, must be >= 0");
    const value = undump(payload) as Data | undefined;
    if (!value || !(value.type in TYPES)) {
      throw new RedisCommandError("DUMP payload version or checksum are wrong");
    }
    const expiresAt = Number(ttl) + (words.includes("ABSTTL") ? 0 : Date.now());
    ctx.db.delete(key);
    if (Number(ttl) === 0) ctx.db.set(key, value);
    else if (expiresAt > Date.now()) ctx.db.set(key, value, { expiresAt });
    return RedisResult.ok();
  });

  /** XADD and XTRIM as the engine has them, with a sign, and with what becomes of the references of groups. */
  function trims(name: "xadd" | "xtrim"): Definition {
    type Args = { key: Buffer; trim: Trim; own: unknown };
    return changed(name, (own) => ({
      schema: {
        parse(input, index, ctx) {
          const args = input.slice(index);
          const trim = checkedTrim(args);
          const [key = Buffer.alloc(0)] = args;
          if (trim.mode && name === "xtrim") {
            if (trim.by === undefined) throw new RedisSyntaxError();
            return { value: { key, trim, own: undefined }, nextIndex: input.length };
          }
          const taken = trim.mode ? trim.untrimmed : trim.plain;
          const { value } = own.schema.parse([...input.slice(0, index), ...taken], index, ctx);
          return { value: { key, trim, own: value }, nextIndex: input.length };
        },
      },
      keys: (args) => [(args as Args).key],
      execute(args, ctx) {
        const { key, trim, own: parsed } = args as Args;
        if (name === "xtrim" && trim.mode) return integer(trimWithReferences(ctx, key, trim));
        const reply = own.execute(parsed, ctx);
        // Without a stream to add to, NOMKSTREAM leaves none to trim.
        if (trim.mode) trimWithReferences(ctx, key, trim);
        return reply;
      },
    }));
  }

  function checkedTrim(args: readonly Buffer[]): Trim {
    const trim = readTrim(args);
    const { by, threshold, limit, approximate } = trim;
    if (by === "MAXLEN" && threshold !== undefined) {
      if (!INTEGER.test(`${threshold}`)) throw new engine.ExpectedIntegerError();
      if (Number(threshold) < 0) throw new RedisCommandError("The MAXLEN argument must be >= 0.");
    }
    if (!trim.mode || by === undefined) return trim;
    if (by === "MINID") streamId(threshold ?? Buffer.alloc(0));
    if (limit === undefined) return trim;
    if (!INTEGER.test(`${limit}`)) throw new engine.ExpectedIntegerError();
    if (Number(limit) < 0) throw new RedisCommandError("The LIMIT argument must be >= 0.");
    if (!approximate)
      throw new RedisCommandError("syntax error, LIMIT cannot be used without the special ~ option");
    return trim;
  }

  /** @returns how many entries went. */
  function trimWithReferences(ctx: Context, key: Buffer, { mode, by, threshold, limit }: Trim): number {
    if (mode === undefined || by === undefined || !ctx.db.getStream(key)) return 0;
    const most = Number(limit ?? 0) || Number.POSITIVE_INFINITY;
    return ctx.db.updateStream(key, (stream) => {
      const { value } = stream;
      const least = by === "MINID" ? streamId(threshold as Buffer) : undefined;
      let removed = 0;
      for (const { id } of [...value.entries]) {
        const enough = least ? compare(id, least) >= 0 : value.entries.length <= Number(threshold);
        if (enough || removed >= most) break;
        if (deleteEntry(stream, id, mode) === 1) removed++;
      }
      return removed;
    });
  }

  /** XREADGROUP: the engine wants GROUP in front of the other options. */
  function groupFirst(args: readonly Buffer[]): Buffer[] {
    for (let at = 0; at < args.length; at++) {
      const word = `${args[at]}`.toUpperCase();
      if (word === "GROUP") return [...args.slice(at, at + 3), ...args.slice(0, at), ...args.slice(at + 3)];
      if (word === "STREAMS") break;
      if (word === "COUNT") at++;
    }
    return [...args];
  }

  const xgroup = changed("xgroup", (own) => ({
    execute(args, ctx) {
      const { subcommand, key } = (args as { args: { subcommand: string; key: Buffer } }).args;
      if (subcommand !== "create" && subcommand !== "help" && ctx.db.getType(key) === null) {
        throw new RedisCommandError(
          "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        );
      }
      return own.execute(args, ctx);
    },
  }));

  const compare = (a: StreamId, b: StreamId) =>
    a.ms === b.ms ? Number(a.seq - b.seq) : a.ms < b.ms ? -1 : 1;

  /** `[KEEPREF|DELREF|ACKED] IDS n id …`, as XDELEX and XACKDEL end. */
  function readIds(args: Buffer[]): { mode: string; ids: StreamId[] } {
    const first = `${args[0]}`.toUpperCase();
    const mode = ["KEEPREF", "DELREF", "ACKED"].includes(first) ? first : undefined;
    const [ids, count, ...rest] = mode ? args.slice(1) : args;
    if (`${ids}`.toUpperCase() !== "IDS") throw new RedisSyntaxError();
    const wanted = number(count);
    if (!(wanted > 0)) throw new RedisCommandError("Number of IDs must be a positive integer");
    if (rest.length < wanted) {
      throw new RedisCommandError("The `numids` parameter must match the number of arguments");
    }
    if (rest.length > wanted) throw new RedisSyntaxError();
    return { mode: mode ?? "KEEPREF", ids: rest.map(streamId) };
  }

  function streamId(text: Buffer): StreamId {
    const [, ms, seq = "0"] = /^(\d{1,20})(?:-(\d{1,20}))?$/.exec(`${text}`) ?? [];
    if (ms === undefined) throw new engine.InvalidStreamIdError();
    return { ms: BigInt(ms), seq: BigInt(seq) };
  }

  const pendingIn = (group: { pending: Map<string, { id: StreamId }> }, id: StreamId) =>
    [...group.pending].find(([, entry]) => compare(entry.id, id) === 0)?.[0];

  /** Whether a group waits for the entry, or has not been given it yet. */
  const isReferenced = (stream: Stream, id: StreamId) =>
    [...stream.groups.values()].some(
      (group) => pendingIn(group, id) !== undefined || compare(group.lastDeliveredId, id) < 0,
    );

  /** 1: deleted. 2: kept, since a group still needs it. -1: no such entry. */
  function deleteEntry(
    stream: { value: Stream; deleteEntries: DeleteEntries },
    id: StreamId,
    mode: string,
  ): number {
    const { value } = stream;
    // Redis looks at the groups first, for an entry that is not there too.
    if (mode === "ACKED" && isReferenced(value, id)) return 2;
    if (mode === "DELREF") {
      for (const group of value.groups.values()) group.pending.delete(pendingIn(group, id) ?? "");
    }
    if (!value.entries.some((entry) => compare(entry.id, id) === 0)) return -1;
    stream.deleteEntries([id], compare, (entry) => {
      if (compare(value.maxDeletedEntryId, entry.id) < 0) value.maxDeletedEntryId = { ...entry.id };
    });
    return 1;
  }

  const xdelex = command("xdelex", ["write", "fast"], 4, firstKey, (args, ctx) => {
    const [key, ...rest] = args as [Buffer, ...Buffer[]];
    const { mode, ids } = readIds(rest);
    if (!ctx.db.getStream(key)) return integers(ids.map(() => -1));
    return integers(ctx.db.updateStream(key, (stream) => ids.map((id) => deleteEntry(stream, id, mode))));
  });

  const xackdel = command("xackdel", ["write", "fast"], 5, firstKey, (args, ctx) => {
    const [key, name, ...rest] = args as [Buffer, Buffer, ...Buffer[]];
    const { mode, ids } = readIds(rest);
    if (!ctx.db.getStream(key)?.groups.has(name.toString("hex"))) return integers(ids.map(() => -1));
    return integers(
      ctx.db.updateStream(key, (stream) => {
        const group = stream.value.groups.get(name.toString("hex"));
        return ids.map((id) => {
          const pending = group && pendingIn(group, id);
          if (pending === undefined) return -1;
          group?.pending.delete(pending);
          // An entry that is gone from the stream counts as deleted.
          return Math.abs(deleteEntry(stream, id, mode));
        });
      }),
    );
  });

  const bitop = changed("bitop", (own) => ({
    schema: {
      parse(input, index, ctx) {
        const op = `${input[index]}`.toUpperCase();
        const [destKey, ...sourceKeys] = input.slice(index + 1);
        if (!Object.hasOwn(BIT_OPERATIONS, op) || !destKey || sourceKeys.length === 0) {
          return own.schema.parse(input, index, ctx);
        }
        if (op !== "ONE" && sourceKeys.length < 2) {
          throw new RedisCommandError(`BITOP ${op} must be called with at least two source keys.`);
        }
        return { value: { op, destKey, sourceKeys }, nextIndex: input.length };
      },
    },
    execute(args, ctx) {
      const { op, destKey, sourceKeys } = args as { op: string; destKey: Buffer; sourceKeys: Buffer[] };
      const combine = BIT_OPERATIONS[op];
      if (!combine) return own.execute(args, ctx);
      const sources = sourceKeys.map((key) => {
        const value = ctx.db.get(key);
        if (value && value.type !== "string") throw new engine.WrongTypeRedisError();
        return value ? value.value : Buffer.alloc(0);
      });
      const length = Math.max(...sources.map((source) => source.length));
      const result = Buffer.alloc(length);
      for (let i = 0; i < length; i++) result[i] = combine(sources.map((source) => source[i] ?? 0));
      if (length === 0) ctx.db.delete(destKey);
      else ctx.db.setString(destKey, result);
      return integer(length);
    },
  }));

  /** FUNCTION LIST takes a pattern, and tells each function's description. FUNCTION LOAD knows the flags. */
  const functions = changed("function", (own) => ({
    execute(args, ctx) {
      const { subcommand, rest } = args as { subcommand: string; rest: Buffer[] };
      if (subcommand.toLowerCase() === "load") return loadLibrary(() => own.execute(args, ctx), ctx);
      if (subcommand.toLowerCase() !== "list") return own.execute(args, ctx);
      const { pattern, others } = readListOptions(rest);
      const reply = own.execute({ subcommand, rest: others }, ctx);
      if (!(reply instanceof RedisResult)) return reply;
      const libraries = ctx.server.functionRegistry.list();
      const described = new Map(libraries.flatMap(({ code }) => descriptionsIn(`${code}`)));
      const listed = reply.value.kind === "array" ? reply.value.items : [];
      const wanted = listed.filter(
        (library) => library.kind !== "array" || globMatches(pattern, textOf(library.items[1])),
      );
      return RedisResult.create(withDescriptions(RedisValue.array(wanted), described));
    },
  }));
  /** @throws and leaves all as it was, if a function has a flag that Redis and Upstash do not know. */
  function loadLibrary(load: () => ReturnType<Definition["execute"]>, { server }: Context) {
    const { functionRegistry } = server;
    const before = functionRegistry.list();
    const reply = load();
    const flags = functionRegistry.list().flatMap(({ functions }) => functions.flatMap((one) => one.flags));
    if (flags.every((flag) => KNOWN_FLAGS.has(flag))) return reply;
    functionRegistry.clear();
    for (const library of before) functionRegistry.load(library);
    throw new RedisCommandError("Error registering functions: ERR unknown flag given");
  }
  function readListOptions(rest: Buffer[]): { pattern: string; others: Buffer[] } {
    const words = rest.map((arg) => `${arg}`.toUpperCase());
    const at = words.indexOf("LIBRARYNAME");
    const others = at === -1 ? rest : rest.toSpliced(at, 2);
    if (at !== -1 && at === rest.length - 1) {
      throw new RedisCommandError("library name argument was not given");
    }
    const unknown = others.find((arg, i) => i > 0 || `${arg}`.toUpperCase() !== "WITHCODE");
    if (unknown) throw new RedisCommandError(`Unknown argument ${unknown}`);
    return { pattern: at === -1 ? "*" : `${rest[at + 1]}`, others };
  }
  const textOf = (value: Value | undefined) => (value?.kind === "bulk-string" ? `${value.value}` : "");
  function withDescriptions(value: Value, described: Map<string, string>): Value {
    if (value.kind !== "array") return value;
    const [first, name] = value.items;
    const description = textOf(first) === "name" ? described.get(textOf(name)) : undefined;
    return RedisValue.array(
      value.items.map((item, i) =>
        description !== undefined && i === 3
          ? RedisValue.bulkString(Buffer.from(description))
          : withDescriptions(item, described),
      ),
    );
  }
  type Value = InstanceType<EmbeddedEngine["RedisResult"]>["value"];

  /** XPENDING: consumers with how much each has, as a text, and null when nobody has anything. */
  const xpending = changed("xpending", (own) => ({
    execute(args, ctx) {
      const reply = own.execute(args, ctx);
      if (!(reply instanceof RedisResult) || reply.value.kind !== "array") return reply;
      const [pending, first, last, consumers] = reply.value.items;
      // With a range it is another reply: a list of entries.
      if (pending?.kind !== "integer" || !first || !last || consumers?.kind !== "array") return reply;
      const asTexts = consumers.items.map((consumer) =>
        RedisValue.array(
          (consumer.kind === "array" ? consumer.items : []).map((item) =>
            item.kind === "integer" ? RedisValue.bulkString(Buffer.from(`${item.value}`)) : item,
          ),
        ),
      );
      const whoHas = asTexts.length > 0 ? RedisValue.array(asTexts) : RedisValue.bulkString(null);
      return RedisResult.create(RedisValue.array([pending, first, last, whoHas]));
    },
  }));

  /** Upstash runs a function that only reads, even without the flag `no-writes`. */
  const fcallRo = changed("fcall_ro", (own) => ({
    execute(args, ctx) {
      const { functionRegistry } = ctx.server;
      const findFunction = (name: string) => {
        const found = functionRegistry.findFunction(name);
        return found && { ...found, flags: [...found.flags, "no-writes"] };
      };
      const server = Object.create(ctx.server, { functionRegistry: { value: { findFunction } } });
      return own.execute(args, Object.create(ctx, { server: { value: server } }));
    },
  }));

  return [
    ...[echo, wait, waitAof, memory, dumpCommand, restore, xdelex, xackdel],
    ...[fieldTimes("hexpiretime", 1000), fieldTimes("hpexpiretime", 1)],
    ...[trims("xadd"), trims("xtrim")],
    readsOtherwise("xreadgroup", groupFirst),
    ...[xgroup, xpending, bitop, functions, fcallRo],
  ];
}

type DeleteEntries = (
  targets: StreamId[],
  compare: (a: StreamId, b: StreamId) => number,
  onDelete: (entry: { id: StreamId }) => void,
) => unknown;

const TYPES: Record<Data["type"], true> = {
  string: true,
  hash: true,
  list: true,
  set: true,
  zset: true,
  stream: true,
};

const INTEGER = /^-?\d+$/;

/** One byte of the result, from that of each source. */
const BIT_OPERATIONS: Record<string, (bytes: number[]) => number> = {
  DIFF: ([first = 0, ...others]) => first & ~any(others),
  DIFF1: ([first = 0, ...others]) => ~first & any(others),
  ANDOR: ([first = 0, ...others]) => first & any(others),
  ONE(bytes) {
    let once = 0;
    let more = 0;
    for (const byte of bytes) {
      more |= once & byte;
      once = (once | byte) & ~more;
    }
    return once & 255;
  },
};
const any = (bytes: number[]) => bytes.reduce((all, byte) => all | byte, 0);

/** The functions that a library's text registers with a description. */
function descriptionsIn(code: string): [name: string, description: string][] {
  const registered = code.matchAll(/register_function\s*\(?\s*\{(?<fields>[^}]*)\}?/g);
  return [...registered].flatMap(({ groups }) => {
    const field = (name: string) =>
      new RegExp(`\\b${name}\\s*=\\s*(["'])(?<text>.*?)\\1`, "s").exec(groups?.fields ?? "")?.groups?.text;
    const [name, description] = [field("function_name"), field("description")];
    return name === undefined || description === undefined ? [] : [[name, description]];
  });
}
