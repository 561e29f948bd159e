import { type Finding, gist } from "./finding.ts";
import { type Attempt, type Line, meet, type Story } from "./story.ts";

/** Locks that stayed longer than one lease and one request's limit past their last believer. */
export function orphans(story: Story): Finding[] {
  const longest = Math.max(0, ...story.attempts.map(({ asked }) => asked.ttl));
  return seenOf(story).flatMap((seen): Finding[] => {
    const attempt = story.attemptOf(seen.id);
    const limit = attempt?.asked.limit ?? story.attempts[0]?.asked.limit ?? 0;
    const allowed = (attempt?.lease ?? longest) + limit;
    const since = Math.max(seen.at, attempt ? lastBelief(attempt) : 0);
    const ms = seen.to - since;
    if (ms <= allowed) return [];
    const lines = attempt ? attempt.lines.filter(({ what }) => what !== "access").slice(-5) : [];
    return [
      {
        kind: "orphan",
        text: `${seen.key} was held by ${seen.id} ${ms.toFixed(0)} ms past its last believer; ${allowed.toFixed(0)} ms are one lease and one request`,
        evidence: [...lines, seen],
      },
    ];
  });
}

/** When nobody believed any more, or, where nobody ever did, when the last had done asking. */
function lastBelief({ beliefs, over }: Attempt): number {
  return beliefs.at(-1)?.to ?? over;
}

function seenOf({ director }: Story): Line<"seen">[] {
  return director.filter((line) => line.what === "seen");
}

/** Of several keys, some that were kept although the answer was busy, and nothing befell who asked. */
export function keptInVain(story: Story): Finding[] {
  return seenOf(story).flatMap((seen): Finding[] => {
    const attempt = story.attemptOf(seen.id);
    if (attempt?.refused?.verdict !== "busy" || attempt.claims.length === 1) return [];
    const { id, key, asked, refused, client, lines } = attempt;
    const ms = seen.to - refused.at;
    const befell = story
      .troubles(client)
      .some((trouble) => meet(trouble, { from: refused.at - asked.limit, to: refused.at + asked.limit }));
    if (ms <= asked.limit || befell) return [];
    const text = `${id} asked for ${key} in vain, and kept ${seen.key} for ${ms.toFixed(0)} ms`;
    return [{ kind: "vain", text, evidence: [...gist(lines), seen] }];
  });
}

/** Seconds that locks were held by nobody, of clients that were killed and of those that were not. */
export function orphanSeconds(story: Story): { killed: number; alive: number } {
  const seconds = { killed: 0, alive: 0 };
  for (const seen of seenOf(story)) {
    const attempt = story.attemptOf(seen.id);
    const killed =
      attempt !== undefined &&
      !attempt.refused &&
      !attempt.released &&
      !attempt.given &&
      story.killed.has(attempt.client);
    const since = Math.max(seen.at, attempt ? (killed ? lastBelief(attempt) : attempt.over) : 0);
    seconds[killed ? "killed" : "alive"] += Math.max(0, seen.to - since) / 1000;
  }
  return seconds;
}

/** Keys that will never go, or that nobody should have made; and locks that were seen to have no end. */
export function leaks(story: Story): Finding[] {
  return story.director.flatMap((line): Finding[] => {
    if (line.what === "seen" && line.pttl === -1) {
      return [{ kind: "leak", text: `${line.key} was held by ${line.id} without an end`, evidence: [line] }];
    }
    if (line.what !== "left" || (line.most !== undefined && line.pttl >= 0 && line.pttl <= line.most))
      return [];
    const why =
      line.pttl < 0
        ? "without an end"
        : line.most === undefined
          ? "and is no key of the library's"
          : `for ${line.pttl} ms more, of ${line.most} at most`;
    return [{ kind: "leak", text: `${line.key} was left ${why}`, evidence: [line] }];
  });
}
