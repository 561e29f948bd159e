import { type Finding, gist } from "./finding.ts";
import { type Belief, beliefsAtKeys } from "./holders.ts";
import { byKey, meet, type Spell, type Story } from "./story.ts";

/** ms that a process may be late without a word of it. */
const slack = 1000;

/** Who got a lock while it was paused, or more permits than an operator's limit, though they asked after it was set. */
export function letIn(story: Story): Finding[] {
  const beliefs = new Map(
    byKey(story.attempts.flatMap(beliefsAtKeys)).map((group) => [group[0]?.key, group]),
  );
  return story.spells.flatMap((spell): Finding[] => {
    if (story.forgot.some(({ from, to }) => meet({ from, to }, { from: spell.asked, to: spell.over })))
      return [];
    const under = (beliefs.get(spell.key) ?? []).filter(
      ({ attempt }) => attempt.asked.at > spell.holds && (attempt.acquired?.at ?? spell.over) < spell.lifting,
    );
    return tooMany(under, spell).map((belief) => ({
      kind: "letin",
      text: `${belief.attempt.id} got ${spell.key} in spite of ${spell.limit ? `a limit of ${spell.limit}` : "a pause"}`,
      evidence: [
        ...gist(belief.attempt.lines),
        ...story.director.filter(
          (line) =>
            line.what === "steering" &&
            line.key === spell.key &&
            line.at >= spell.asked &&
            line.at <= spell.over,
        ),
      ],
    }));
  });
}

/** A weight above the limit counts as it. Other kinds of lock have no limit. */
function tooMany(beliefs: Belief[], { act, limit = 0 }: Spell): Belief[] {
  if (act === "pause") return beliefs;
  const permits = beliefs.filter(({ claim }) => claim.mode === "permit");
  return permits.filter(({ from }) => {
    const there = permits.filter((each) => each.from <= from && from < each.to);
    return there.reduce((sum, { claim }) => sum + Math.min(claim.weight, limit), 0) > limit;
  });
}

/**
 * Whose lock was ended safely is refused its next renewal, and told why. Whom no request reaches learns it from the end
 * of its lease.
 */
export function untold(story: Story): Finding[] {
  return story.director.flatMap((seen): Finding[] => {
    if (seen.what !== "seen" || seen.ended === undefined) return [];
    const { ended, key, id } = seen;
    const attempt = story.attemptOf(id);
    if (!attempt) return [];
    const { client, asked, aborted, releasing, lines } = attempt;
    const sinceEnded = (to: number) => ({ from: ended, to });
    const renewed = lines.find((line) => line.what === "renewed" && line.at > ended + asked.limit + slack);
    const wasStopped = (to: number) =>
      story.stopped.some((stop) => stop.client === client && meet(stop.span, sinceEnded(to)));
    const told = (why: string) => ({
      kind: "untold" as const,
      text: `${id} had ${key}, which an operator ended, and ${why}`,
      evidence: [...gist(lines), seen],
    });
    if (renewed && "at" in renewed && !wasStopped(renewed.at))
      return [told(`renewed it ${(renewed.at - ended).toFixed(0)} ms later`)];
    // A release aborts the signal, too.
    if (!aborted || (releasing && releasing.at <= aborted.at)) return [];
    if (aborted.why.includes("an operator ended it")) return [];
    const calm = !story.troubles(client).some((trouble) => meet(trouble, sinceEnded(aborted.at)));
    const robbed = story.ended.some((line) => line.now && line.key === key && line.to > ended);
    const another = aborted.why.includes("another has it") && !robbed;
    return another || (asked.renew && calm) ? [told(`was told: ${aborted.why}`)] : [];
  });
}
