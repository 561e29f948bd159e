import { type Finding, gist } from "./finding.ts";
import { type Attempt, byClaim, type Line, mayBeEnded, meet, type Story, wasPaused } from "./story.ts";

/** ms around an attempt in which a lock may have been there without being seen: looks are that far apart at worst. */
const unseen = 3000;

/** What cannot have been so: busy, held or unknown. */
export function wrongVerdicts(story: Story): Finding[] {
  const seen = new Map<string, Line<"seen">[]>();
  for (const line of story.director) {
    if (line.what === "seen") seen.set(line.id, [...(seen.get(line.id) ?? []), line]);
  }
  return story.attempts.flatMap((attempt): Finding[] => {
    const why =
      wrongBusy(attempt, story, (id) => seen.get(id) ?? []) ||
      fromNobody(attempt, story) ||
      wrongUnknown(attempt, story);
    if (!why) return [];
    return [{ kind: "verdict", text: `${attempt.id} ${why}`, evidence: gist(attempt.lines) }];
  });
}

function wrongBusy(
  { id, key, claims, asked, refused, waiting }: Attempt,
  story: Story,
  seenOf: (id: string) => Line<"seen">[],
): string | undefined {
  if (refused?.verdict !== "busy") return undefined;
  if (refused.owner === id) return `was told that ${key} is busy, with itself as its owner`;
  const owner = story.attemptOf(refused.owner ?? "");
  const near = { from: asked.at - unseen, to: refused.at + unseen };
  // A request that was long on its way may bring a lock back for a while.
  const back = seenOf(refused.owner ?? "").some(({ at, to }) => meet({ from: at, to }, near));
  if (owner?.released?.ours && owner.over < near.from && !back)
    return `was told that ${owner.id} has ${key}, which had released it ${(asked.at - owner.over).toFixed(0)} ms before`;
  // It did not know that it had the lock, and an operator ended that: it is nobody's until its lease is over.
  const span = { from: asked.at, to: refused.at };
  if (claims.some((claim) => mayBeEnded(story, claim.key, span))) return undefined;
  // Whoever stands in a queue may be granted the lock as it leaves.
  const own = !waiting && seenOf(id).some(({ at, to }) => at < refused.at && to > refused.at);
  return own ? `was told that ${key} is busy, while the lock was its own` : undefined;
}

/** Busy and held are what Redis said: not while there was none. */
function fromNobody({ key, asked, acquired, refused, given }: Attempt, { down }: Story): string | undefined {
  const end = refused?.verdict === "busy" ? refused.at : (acquired ?? given)?.at;
  if (end === undefined || !down.some(({ from, to }) => from + 10 < asked.at && end < to)) return undefined;
  const what = acquired ? "is its own" : given ? "has a result" : "is busy";
  return `was told that ${key} ${what}, while there was no Redis to say so`;
}

/** Nothing befell any request, nor the process, nor Redis. */
function wrongUnknown({ client, key, asked, refused }: Attempt, story: Story): string | undefined {
  if (refused?.verdict !== "unknown") return undefined;
  const span = { from: asked.at, to: refused.at };
  if (story.troubles(client).some((trouble) => meet(trouble, span))) return undefined;
  return `was told that nothing is known of ${key}, while nothing was the matter`;
}

/** How many attempts nothing befell: only of those can it be said that "unknown" was wrong. */
export function countUntroubled(story: Story): number {
  return story.attempts.filter(({ client, asked, over }) => {
    const span = { from: asked.at, to: over };
    return !story.troubles(client).some((trouble) => meet(trouble, span));
  }).length;
}

/**
 * Waiters that had a place for all of their wait, and saw so many who had come later get the lock, whatever of it either
 * wanted. An operator's pause makes all wait. Who waits for several keys stands in one queue after the other, and is not looked at.
 */
export function starved(story: Story, most = 10): Finding[] {
  return byClaim(story.attempts).flatMap((all) => {
    const group = all.map(({ attempt }) => attempt);
    return group.flatMap((attempt): Finding[] => {
      if (attempt.claims.length > 1) return [];
      const later = overtakers(attempt, group, story);
      if (later.length < most) return [];
      return [
        {
          kind: "starved",
          text: `${attempt.id} waited ${attempt.asked.wait} ms for ${attempt.key} in vain, while ${later.length} who came later got it`,
          evidence: [...gist(attempt.lines), ...later.slice(0, 3).flatMap(({ lines }) => lines.slice(0, 2))],
        },
      ];
    });
  });
}

function overtakers(
  { client, key, asked, refused, waiting }: Attempt,
  group: Attempt[],
  story: Story,
): Attempt[] {
  if (refused?.verdict !== "busy" || asked.wait === 0) return [];
  const since = waiting?.at ?? asked.at;
  // Stopped, it could not keep its place; a clock that was moved ends a wait early.
  const away = story.stopped.some(
    (stop) => stop.client === client && meet(stop.span, { from: since, to: refused.at }),
  );
  const forgotten = story.forgot.some((span) => meet(span, { from: asked.at, to: refused.at }));
  const paused = wasPaused(story, key, { from: asked.at, to: refused.at });
  if (away || forgotten || paused || refused.at - asked.at < 0.9 * asked.wait) return [];
  return group.filter((other) => other.asked.at > since && other.acquired && other.acquired.at < refused.at);
}
