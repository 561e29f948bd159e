import type { Claim, DirectorLine } from "../log.ts";
import { type Finding, gist } from "./finding.ts";
import { type Attempt, byKey, type Line, meet, type Span, type Story } from "./story.ts";

/** What somebody believed to hold at a key, and from when until when. */
export interface Belief extends Span {
  key: string;
  claim: Claim;
  attempt: Attempt;
}

/**
 * More that believed to hold a key at the same time than may, each within what it was sure of: another beside an exclusive
 * holder, a permit beside a reader, more permits than there are.
 */
export function overlaps(story: Story): Finding[] {
  const beliefs = story.attempts.flatMap(beliefsAtKeys).flatMap((belief) => beforeItsEnd(belief, story));
  return byKey(beliefs).flatMap((group) => {
    const found: Finding[] = [];
    let holding: Belief[] = [];
    for (const belief of group.sort((a, b) => a.from - b.from)) {
      holding = [...holding.filter(({ to }) => belief.from < to), belief];
      const claims = holding.map(({ claim }) => claim);
      if (mayHoldTogether(claims, operatorsLimit(holding, story))) continue;
      const ms = Math.min(...holding.map(({ to }) => to)) - belief.from;
      const names = holding.map(({ attempt, claim }) => `${attempt.id}${nameOf(claim)}`).join(" and ");
      found.push({
        kind: "overlap",
        text: `${names} held ${belief.key} together for ${ms.toFixed(1)} ms`,
        evidence: holding.flatMap(({ attempt }) => gist(attempt.lines)),
      });
    }
    return found;
  });
}

/** Whoever asks to share its lock is only sure of that from then on, whatever the answer. */
export function beliefsAtKeys(attempt: Attempt): Belief[] {
  const shares = attempt.downgrading?.at ?? Number.POSITIVE_INFINITY;
  return attempt.claims.flatMap((claim) =>
    attempt.beliefs
      .flatMap(({ from, to }): (Span & { claim: Claim })[] => [
        { from, to: Math.min(to, shares), claim },
        { from: Math.max(from, shares), to, claim: { ...claim, mode: "shared" } },
      ])
      .filter(({ from, to }) => from < to)
      .map((span) => ({ ...span, key: claim.key, attempt })),
  );
}

/** A request that was given up may arrive so many ms later. */
const allHasArrived = 5000;

/**
 * Whose lock an operator ended at once believes in vain from then on, also if it did not know yet that it had it. Who is
 * seen to hold it afterwards was let in by then.
 */
export function beforeItsEnd(belief: Belief, { ended, director }: Story): Belief[] {
  const { key, attempt } = belief;
  const end = ended.find((line) => {
    if (!line.now || line.key !== key) return false;
    const until = line.released === undefined ? line.to + allHasArrived : line.to;
    const around = meet({ from: line.at, to: until }, { from: attempt.asked.at, to: belief.to });
    return around && !director.some((seen) => isSeen(seen, belief, until));
  });
  if (!end) return [belief];
  return belief.from < end.at ? [{ ...belief, to: end.at }] : [];
}

function isSeen(seen: DirectorLine, { key, attempt }: Belief, after: number): boolean {
  return seen.what === "seen" && seen.id === attempt.id && seen.key === key && seen.to > after;
}

/** The highest limit that an operator had set while one of these was let in; 0 for none. */
function operatorsLimit(holding: Belief[], { spells }: Story): number {
  const limits = spells.filter(({ key, asked, over }) =>
    holding.some(
      (belief) =>
        belief.key === key &&
        meet({ from: belief.attempt.asked.at, to: belief.from }, { from: asked, to: over }),
    ),
  );
  return Math.max(0, ...limits.map(({ limit = 0 }) => limit));
}

/**
 * Whether all of these may hold a key at the same time. Of permits the highest limit counts: who has a lower one may have
 * come first.
 * @param operators the highest limit that an operator has set
 */
export function mayHoldTogether(claims: Claim[], operators = 0): boolean {
  const modes = new Set(claims.map(({ mode }) => mode));
  if (claims.length <= 1) return true;
  if (modes.size > 1 || modes.has("exclusive")) return false;
  const taken = claims.reduce((sum, { weight }) => sum + weight, 0);
  return modes.has("shared") || taken <= Math.max(operators, ...claims.map(({ limit = 1 }) => limit));
}

function nameOf({ mode, limit, weight }: Claim): string {
  return { exclusive: "", shared: " (shared)", permit: ` (${weight} of ${limit})` }[mode];
}

/**
 * Who was sure of a lock for longer than Redis was to keep it. Only of a lease that was never changed can that be told:
 * one that is not renewed, and was not a grant before; and only where Redis was asked after its holder had it.
 */
export function validity(story: Story): Finding[] {
  return story.director.flatMap((seen): Finding[] => {
    const attempt = seen.what === "seen" && story.attemptOf(seen.id);
    if (!attempt || attempt.asked.renew || attempt.waiting || !attempt.acquired) return [];
    if (attempt.downgrading) return [];
    const { key } = seen;
    const { id, acquired } = attempt;
    const longer = acquired.at + acquired.sure - seen.end;
    if (seen.read < acquired.at || longer <= 1) return [];
    const text = `${id} was sure of ${key} for ${longer.toFixed(0)} ms more than Redis was to keep it`;
    return [{ kind: "validity", text, evidence: [attempt.asked, acquired, seen] }];
  });
}

/** Work that went on although it had been told to stop, or although the lock itself said that nothing was left. */
export function accesses({ attempts }: Story): Finding[] {
  return attempts.flatMap(({ id, key, lines }) => {
    const found: Finding[] = [];
    let aborted: Line<"aborted"> | undefined;
    for (const line of lines) {
      if (line.what === "aborted") aborted ??= line;
      if (line.what !== "access") continue;
      const why = aborted
        ? `${(line.at - aborted.at).toFixed(1)} ms after its signal had aborted`
        : line.sure <= 0 && "not told to stop, with nothing left of its lease";
      if (!why) continue;
      found.push({
        kind: "access",
        text: `${id} went on with ${key} ${why}`,
        evidence: aborted ? [aborted, line] : [line],
      });
    }
    return found;
  });
}
