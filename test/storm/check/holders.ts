import { type Finding, gist } from "./finding.ts";
import { byKey, type Line, type Story } from "./story.ts";

/** Two that believed to hold the same lock at the same time, each within what it was sure of. */
export function overlaps({ attempts }: Story): Finding[] {
  const beliefs = attempts.flatMap((attempt) =>
    attempt.beliefs.map((span) => ({ ...span, attempt, key: attempt.key })),
  );
  return byKey(beliefs).flatMap((group) => {
    const found: Finding[] = [];
    let latest: (typeof group)[number] | undefined;
    for (const belief of group.sort((a, b) => a.from - b.from)) {
      if (latest && belief.from < latest.to) {
        const ms = Math.min(latest.to, belief.to) - belief.from;
        const [one, other] = [latest.attempt, belief.attempt];
        found.push({
          kind: "overlap",
          text: `${one.id} and ${other.id} both held ${belief.key} for ${ms.toFixed(1)} ms`,
          evidence: [...gist(one.lines), ...gist(other.lines)],
        });
      }
      if (!latest || belief.to > latest.to) latest = belief;
    }
    return found;
  });
}

/**
 * Who was sure of a lock for longer than Redis was to keep it. Only of a lease that was never changed can that be told:
 * one that is not renewed, and was not a grant before; and only where Redis was asked after its holder had it.
 */
export function validity(story: Story): Finding[] {
  return story.director.flatMap((seen): Finding[] => {
    const attempt = seen.what === "seen" && story.attemptOf(seen.id);
    if (!attempt || attempt.asked.renew || attempt.waiting || !attempt.acquired) return [];
    const { id, key, acquired } = attempt;
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
