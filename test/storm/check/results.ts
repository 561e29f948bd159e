import { type Finding, gist } from "./finding.ts";
import { beforeItsEnd, beliefsAtKeys } from "./holders.ts";
import { type Attempt, byKey, type Line, meet, type Story } from "./story.ts";

/** ms between what happens and what is told of it. */
const slack = 100;
/** ms after which no request is on its way any more that was given up. */
const allHasArrived = 5000;

/** Somebody that was given a result, and who worked for it, if that is known. */
interface Gift {
  taker: Attempt;
  given: Line<"given">;
  run: Attempt | undefined;
}

function gifts({ attempts, attemptOf }: Story): Gift[] {
  return attempts.flatMap((taker) =>
    taker.given ? [{ taker, given: taker.given, run: attemptOf(taker.given.run) }] : [],
  );
}

/** All who are given what came of a run are given what it made, and nothing before that. */
export function wrongValues(story: Story): Finding[] {
  return gifts(story).flatMap(({ taker, given, run }): Finding[] => {
    const made = run?.releasing;
    if (run?.key === taker.key && made?.value === given.value && made.at < given.at) return [];
    return [
      {
        kind: "value",
        text: `${taker.id} was given ${given.value} as the result of ${given.run}, which made ${made?.value ?? "nothing"}`,
        evidence: [...gist(taker.lines), ...gist(run?.lines ?? [])],
      },
    ];
  });
}

/** Whoever had lost its lock, as it was told or as Redis shows, stores nothing, and nobody gets what it made. */
export function lostResults(story: Story): Finding[] {
  const seen = Map.groupBy(
    story.director.filter((line) => line.what === "seen"),
    ({ id }) => id,
  );
  const stored = story.director.flatMap((line): Finding[] => {
    if (line.what !== "stored") return [];
    const run = story.attemptOf(line.id);
    const holds = (seen.get(line.id) ?? []).filter(({ key }) => key === line.key);
    const told = run?.released?.ours === false;
    const isGone = holds.length > 0 && holds.every(({ gone }) => gone !== undefined && gone <= line.before);
    if (!told && !isGone) return [];
    const why = told ? "which was told that it had lost the lock" : "whose lock was gone before";
    return [
      {
        kind: "lost",
        text: `${line.key} has the result of ${line.id}, ${why}`,
        evidence: [...gist(run?.lines ?? []), ...holds, line],
      },
    ];
  });
  const given = gifts(story)
    .filter(({ run }) => run?.released?.ours === false)
    .map(
      ({ taker, run }): Finding => ({
        kind: "lost",
        text: `${taker.id} was given the result of ${run?.id}, which was told that it had lost the lock`,
        evidence: [...gist(taker.lines), ...gist(run?.lines ?? [])],
      }),
    );
  return [...stored, ...given];
}

/** A result is for those who asked while somebody worked, and within its time. */
export function oldResults(story: Story): Finding[] {
  const stored = story.director.filter((line) => line.what === "stored");
  const firstSeen = new Map(stored.toReversed().map(({ id, at }) => [id, at]));
  return gifts(story).flatMap(({ taker, run }): Finding[] => {
    if (!run) return [];
    const { released, unkept, over, asked } = run;
    const told = released?.ours && !unkept ? over : over + allHasArrived;
    const storedBy = Math.min(told, firstSeen.get(run.id) ?? told);
    const late = taker.asked.at - storedBy - (asked.keepFor ?? 0);
    if (late <= slack) return [];
    return [
      {
        kind: "old",
        text: `${taker.id} asked ${late.toFixed(0)} ms after the result of ${run.id} was over, and was given it`,
        evidence: [...gist(taker.lines), ...gist(run.lines)],
      },
    ];
  });
}

/** Once a run was told that all went well, nobody works again until its result is over. */
export function workedAgain(story: Story): Finding[] {
  return byKey(story.attempts).flatMap((attempts) => {
    const began = attempts.filter(
      (attempt) =>
        attempt.asked.keepFor !== undefined &&
        beliefsAtKeys(attempt).flatMap((belief) => beforeItsEnd(belief, story)).length > 0,
    );
    return attempts.flatMap((run) => {
      const kept = keptFrom(run, story);
      if (!kept) return [];
      return began
        .filter(({ id, acquired }) => {
          const at = acquired?.at ?? 0;
          const forgotten = story.forgot.some((span) => meet(span, { from: kept.from, to: at }));
          return id !== run.id && at > kept.from && at < kept.to && !forgotten;
        })
        .map(
          (other): Finding => ({
            kind: "again",
            text: `${other.id} worked for ${run.key} again, while the result of ${run.id} was kept`,
            evidence: [...gist(run.lines), ...gist(other.lines)],
          }),
        );
    });
  });
}

/** While the result of a run is there for certain. Whose clock was moved may take its time for over. */
function keptFrom({ client, asked, releasing, released, unkept }: Attempt, { director }: Story) {
  if (!asked.keepFor || !releasing || !released?.ours || unkept) return undefined;
  const moved = director.some(
    (line) =>
      line.what === "stepped" && line.client === client && line.at > releasing.at && line.at < released.at,
  );
  return moved ? undefined : { from: released.at, to: releasing.at + asked.keepFor - slack };
}
