import type { Claim, ClientLine, DirectorLine, Logs, Steering } from "../log.ts";

// What the logs tell, put together: each attempt at a lock with what its client believed, and all that may excuse it.

export type Line<What extends string, Of = ClientLine | DirectorLine> = Extract<Of, { what: What }>;

/** From when until when, in ms. */
export interface Span {
  from: number;
  to: number;
}

export interface Attempt {
  id: string;
  client: string;
  /** Of several keys, all their names. */
  key: string;
  claims: Claim[];
  /** All that its client wrote about it, in order. */
  lines: ClientLine[];
  asked: Line<"asked">;
  /** Since when it stood in a queue. */
  waiting?: Line<"waiting"> | undefined;
  acquired?: Line<"acquired"> | undefined;
  refused?: Line<"refused"> | undefined;
  aborted?: Line<"aborted"> | undefined;
  downgrading?: Line<"downgrading"> | undefined;
  releasing?: Line<"releasing"> | undefined;
  released?: Line<"released", ClientLine> | undefined;
  given?: Line<"given"> | undefined;
  unkept?: Line<"unkept"> | undefined;
  /** The longest that the server may keep the lock for it once it is not heard of any more. */
  lease: number;
  /** While its client believed to hold the lock, and no longer than it was sure of that when it last looked. */
  beliefs: Span[];
  /** When its client was done with it, one way or the other; Infinity where it never was. */
  over: number;
}

/** What an operator set for a lock for a while. Infinity for what has not come yet. */
export interface Spell extends Steering {
  asked: number;
  holds: number;
  lifting: number;
  over: number;
}

export interface Story {
  attempts: Attempt[];
  /** By its id, or by the mark that its client told. */
  attemptOf(id: string): Attempt | undefined;
  director: DirectorLine[];
  killed: Map<string, Line<"killed">>;
  stopped: { client: string; span: Span; line: DirectorLine }[];
  /** While Redis answered nobody. */
  down: Span[];
  /** Those of these in which it lost its data, and every waiter its place. */
  forgot: Span[];
  /** What an operator set for locks. */
  spells: Spell[];
  /** Locks that an operator ended, safely or at once. */
  ended: Line<"ended">[];
  /** What may have delayed or lost requests: everybody's, or those of one client. */
  troubles(client: string): Span[];
}

/** ms for which a trouble goes on: connections are made anew. */
const aftermath = 3000;
/** ms after which the director has looked again. */
const noticed = 100;

export function tellStory({ clients, director }: Logs): Story {
  const killed = new Map<string, Line<"killed">>();
  for (const line of director) if (line.what === "killed") killed.set(line.client, line);
  const attempts = [...clients].flatMap(([client, lines]) =>
    attemptsOf(client, lines, killed.get(client)?.at ?? Number.POSITIVE_INFINITY),
  );
  const byId = new Map(attempts.map((attempt) => [attempt.id, attempt]));
  for (const attempt of attempts) if (attempt.acquired?.mark) byId.set(attempt.acquired.mark, attempt);
  const stopped = pairs(director, "stopped", "continued");
  const outages = pairs(director, "down", "up");
  const everybodys = [
    ...outages.map(({ span: { from, to }, line }) => ({
      from: (line.what === "down" && line.struck) || from,
      to: to + aftermath,
    })),
    ...director.flatMap(trouble),
  ];
  const own = new Map<string, Span[]>();
  return {
    attempts,
    attemptOf: (id) => byId.get(id),
    director,
    killed,
    stopped,
    down: outages.map(({ span }) => span),
    spells: spellsOf(director),
    ended: director.filter((line) => line.what === "ended"),
    forgot: outages.filter(({ line }) => line.what === "down" && line.forgets).map(({ span }) => span),
    troubles(client) {
      let spans = own.get(client);
      if (!spans) {
        spans = [
          ...everybodys,
          ...stopped.filter((stop) => stop.client === client).map(({ span }) => span),
          ...director.flatMap((line) =>
            line.what === "stepped" && line.client === client
              ? [{ from: line.at, to: line.at + aftermath }]
              : [],
          ),
          ...(clients.get(client) ?? []).flatMap(trouble),
        ];
        own.set(client, spans);
      }
      return spans;
    },
  };
}

/** What a line says of requests that fare badly. It comes a little later than what it tells of. */
function trouble(line: ClientLine | DirectorLine): Span[] {
  // A lock is asked for without a stream, too.
  if (line.what === "fired" && !line.kind.startsWith("sse"))
    return [{ from: line.at - noticed, to: line.at }];
  if (line.what === "late") return [{ from: line.at - line.ms - 200, to: line.at + 200 }];
  return [];
}

function attemptsOf(client: string, lines: ClientLine[], killedAt: number): Attempt[] {
  const attempts = new Map<string, Attempt>();
  for (const line of lines) {
    if (!("id" in line)) continue;
    if (line.what === "asked") {
      attempts.set(line.id, {
        id: line.id,
        client,
        key: line.key,
        claims: line.claims ?? [{ key: line.key, mode: "exclusive", weight: 1 }],
        lines: [line],
        asked: line,
        lease: line.lease,
        over: killedAt,
        beliefs: [],
      });
      continue;
    }
    const attempt = attempts.get(line.id);
    if (!attempt) continue;
    attempt.lines.push(line);
    switch (line.what) {
      case "waiting":
        attempt.waiting ??= line;
        attempt.lease = Math.max(attempt.lease, line.lease);
        break;
      case "acquired":
        attempt.acquired = line;
        break;
      case "refused":
        attempt.refused = line;
        attempt.over = line.at;
        break;
      case "aborted":
        attempt.aborted ??= line;
        break;
      case "downgrading":
        attempt.downgrading = line;
        break;
      case "releasing":
        attempt.releasing = line;
        break;
      case "unkept":
        attempt.unkept = line;
        break;
      case "given":
        attempt.given = line;
        attempt.over = line.at;
        break;
      case "released":
        attempt.released = line;
        attempt.over = line.at;
        break;
    }
  }
  for (const attempt of attempts.values()) attempt.beliefs = beliefsOf(attempt, killedAt);
  return [...attempts.values()];
}

/**
 * From when its client knew that it holds the lock, until it let go, was told to stop or died, or what it was sure of
 * when it last looked was over: a process that was stopped believes nothing more then, until it looks again.
 */
function beliefsOf({ lines, aborted, releasing }: Attempt, killedAt: number): Span[] {
  const end = Math.min(aborted?.at ?? killedAt, releasing?.at ?? killedAt, killedAt);
  const beliefs: Span[] = [];
  for (const line of lines) {
    if (!("sure" in line)) continue;
    const to = Math.min(line.at + line.sure, end);
    const last = beliefs.at(-1);
    if (last && line.at <= last.to) last.to = to;
    else if (line.at < to) beliefs.push({ from: line.at, to });
  }
  return beliefs;
}

function pairs(director: DirectorLine[], begin: "stopped" | "down", end: "continued" | "up") {
  const open = new Map<string, DirectorLine>();
  const found: { client: string; span: Span; line: DirectorLine }[] = [];
  for (const line of director) {
    const client = "client" in line ? line.client : "";
    if (line.what === begin) open.set(client, line);
    const opened = open.get(client);
    // Whoever is killed while stopped never goes on.
    if (!opened || (line.what !== end && line.what !== "killed")) continue;
    open.delete(client);
    found.push({ client, span: { from: opened.at, to: line.at }, line: opened });
  }
  return found;
}

function spellsOf(director: DirectorLine[]): Spell[] {
  const open = new Map<string, Spell>();
  const spells: Spell[] = [];
  const never = Number.POSITIVE_INFINITY;
  for (const line of director) {
    if (line.what !== "steering") continue;
    const { key, act, limit, step, at } = line;
    if (step === "asked") {
      const spell = { key, act, limit, asked: at, holds: never, lifting: never, over: never };
      spells.push(spell);
      open.set(key, spell);
    } else {
      const spell = open.get(key);
      if (spell) spell[step] = at;
    }
  }
  return spells;
}

/** Whether an operator may have paused a lock at some time of a span. */
export function wasPaused({ spells }: Story, key: string, span: Span): boolean {
  return spells.some(
    (spell) =>
      spell.key === key && spell.act === "pause" && meet({ from: spell.asked, to: spell.over }, span),
  );
}

/** Whether an operator may have ended a lock at some time of a span. */
export function mayBeEnded({ ended }: Story, key: string, span: Span): boolean {
  return ended.some((line) => line.key === key && meet({ from: line.at, to: line.to }, span));
}

/** Whether the spans have a moment in common. */
export function meet(a: Span, b: Span): boolean {
  return a.from < b.to && b.from < a.to;
}

/** Each attempt at each of its keys. */
export function byClaim(attempts: Attempt[]): { key: string; claim: Claim; attempt: Attempt }[][] {
  return byKey(
    attempts.flatMap((attempt) => attempt.claims.map((claim) => ({ key: claim.key, claim, attempt }))),
  );
}

export function byKey<T extends { key: string }>(items: T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.key);
    if (group) group.push(item);
    else groups.set(item.key, [item]);
  }
  return [...groups.values()];
}
