import type { Claim } from "../log.ts";
import type { Finding } from "./finding.ts";
import { mayHoldTogether } from "./holders.ts";
import { type Attempt, byClaim, type Line, meet, type Span, type Story } from "./story.ts";

/** Longer than a waiter that died may keep its place, and than a request may take that lets the next one in. */
const longest = 11_000;

interface Idle extends Span {
  key: string;
  waiters: Set<Attempt>;
}

/** Locks that had room for all who waited, for longer than any fault excuses. */
export function idle(story: Story): Finding[] {
  return spells(story)
    .filter(({ from, to }) => to - from > longest)
    .map(({ key, from, to, waiters }) => ({
      kind: "idle",
      text: `${key} let nobody in for ${(to - from).toFixed(0)} ms, with room for each of the ${waiters.size} who waited`,
      evidence: [...waiters].slice(0, 3).flatMap(({ lines }) => lines.slice(0, 3)),
    }));
}

/** How long all locks together had room for whoever waited. */
export function idleSeconds(story: Story): number {
  return spells(story).reduce((sum, { from, to }) => sum + to - from, 0) / 1000;
}

/**
 * When a key was held by so few that each of its waiters had room beside them, so that none can have stood in the way of
 * another. Only those count that wait for this key
 * alone, from their asking on, in processes that are not stopped, and only while Redis answers and no operator has set
 * anything for the key.
 */
function spells(story: Story): Idle[] {
  const seen = Map.groupBy(
    story.director.filter((line) => line.what === "seen"),
    ({ key }) => key,
  );
  return byClaim(story.attempts).flatMap((group) => {
    const key = group[0]?.key as string;
    const claimOf = new Map(group.map(({ attempt, claim }) => [attempt.id, claim]));
    return spellsAt(
      key,
      group.map(({ attempt }) => attempt),
      seen.get(key) ?? [],
      story,
      (id) => {
        const attempt = story.attemptOf(id);
        return attempt && claimOf.get(attempt.id);
      },
    );
  });
}

type Change = { at: number; change(): void };

function spellsAt(
  key: string,
  attempts: Attempt[],
  seen: Line<"seen">[],
  { down, stopped, spells }: Story,
  claimOf: (id: string) => Claim | undefined,
): Idle[] {
  const waiting = new Set<Attempt>();
  const holders = new Set<Line<"seen">>();
  let isDown = 0;
  const span = <T>(set: Set<T>, item: T, from: number, to: number): Change[] => [
    { at: from, change: () => set.add(item) },
    { at: to, change: () => set.delete(item) },
  ];
  const steered = spells
    .filter((spell) => spell.key === key)
    .map(({ asked, over }): Span => ({ from: asked, to: over }));
  const changes: Change[] = [
    ...attempts.flatMap((attempt) => {
      const { asked, claims, acquired, refused, client, over } = attempt;
      const from = asked.at;
      const to = acquired?.at ?? refused?.at ?? over;
      const away = stopped.some((stop) => stop.client === client && meet(stop.span, { from, to }));
      // Who is given a result needs no room.
      const waits = asked.wait > 0 && !attempt.given && claims.length === 1 && Number.isFinite(to);
      return waits && !away ? span(waiting, attempt, from, to) : [];
    }),
    ...seen.flatMap((line) => span(holders, line, line.at, line.to)),
    ...[...down, ...steered].flatMap(({ from, to }): Change[] => [
      { at: from, change: () => isDown++ },
      { at: to, change: () => isDown-- },
    ]),
  ].sort((a, b) => a.at - b.at);
  const found: Idle[] = [];
  let open: Idle | undefined;
  for (const { at, change } of changes) {
    if (open) open.to = at;
    change();
    const held = [...holders].map(({ id }) => claimOf(id));
    const fits = (claim: Claim) =>
      held.every((other) => other) && mayHoldTogether([...(held as Claim[]), claim]);
    const room = !isDown && waiting.size > 0 && [...waiting].every(({ id }) => fits(claimOf(id) as Claim));
    if (!room) {
      open = undefined;
      continue;
    }
    if (!open) {
      open = { key, from: at, to: at, waiters: new Set() };
      found.push(open);
    }
    for (const attempt of waiting) open.waiters.add(attempt);
  }
  return found;
}
