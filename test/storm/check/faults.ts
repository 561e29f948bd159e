import type { Finding } from "./finding.ts";
import type { Story } from "./story.ts";

/** What befalls processes and Redis; what befalls requests has the dev server's names. */
export const processFaults = [
  "stopped past its lease",
  "killed holding",
  "killed waiting",
  "clock stepped",
  "Redis paused",
  "Redis killed",
];

/** What an operator does; it limits permits alone. */
export const operatorFaults = ["released by an operator", "paused by an operator", "told of the operator"];
export const operatorLimits = "limited by an operator";

/** What becomes of those who ask for a result. */
export const resultFaults = ["given another's result", "work that failed", "lock lost during the work"];

/** How often each kind of fault was seen to happen, by what it met: a client killed while idle is none of these. */
export function countFaults(story: Story): Map<string, number> {
  const counts = new Map<string, number>();
  const add = (kind: string, count = 1) => counts.set(kind, (counts.get(kind) ?? 0) + count);
  for (const line of story.director) {
    if (line.what === "fired") add(line.kind, line.count);
    if (line.what === "stepped") add("clock stepped");
    if (line.what === "down") add(`Redis ${line.why}`);
    if (line.what === "ended" && line.released) add("released by an operator");
    if (line.what === "steering" && line.step === "holds")
      add(line.act === "pause" ? "paused by an operator" : operatorLimits);
  }
  for (const { aborted, asked, given, released } of story.attempts) {
    if (aborted?.why.includes("an operator ended it")) add("told of the operator");
    if (given) add("given another's result");
    if (asked.keepFor === undefined || !released || released.ours) continue;
    add(released.ours === false ? "lock lost during the work" : "work that failed");
  }
  const byClient = Map.groupBy(story.attempts, ({ client }) => client);
  for (const { client, span } of story.stopped) {
    const past = byClient
      .get(client)
      ?.some(({ beliefs }) =>
        beliefs.some(({ from, to }) => from < span.from && span.from < to && to < span.to),
      );
    if (past) add("stopped past its lease");
  }
  for (const { client, at } of story.killed.values()) {
    for (const { beliefs, acquired, refused, given, asked } of byClient.get(client) ?? []) {
      // Killed, its belief ends there.
      if (beliefs.at(-1)?.to === at) add("killed holding");
      else if (!acquired && !refused && !given && asked.wait > 0) add("killed waiting");
    }
  }
  return counts;
}

/** A storm in which the other checks could see nothing. */
export function vacuous(story: Story, least: number, kinds: string[]): Finding[] {
  const acquired = story.attempts.filter(({ beliefs }) => beliefs.length).length;
  const counts = countFaults(story);
  const texts = [
    ...(acquired < least ? [`${acquired} acquisitions, of ${least} at least`] : []),
    ...kinds.filter((kind) => !counts.get(kind)).map((kind) => `no fault of the kind "${kind}"`),
  ];
  return texts.map((text) => ({ kind: "vacuous", text, evidence: [] }));
}
