import type { Finding } from "./finding.ts";
import { type Attempt, byClaim, byKey, type Line, type Story } from "./story.ts";

/** A token must be greater than that of everybody who had the lock before it was asked for. */
export function fenceOrder({ attempts }: Story): Finding[] {
  const fenced = attempts.filter(({ asked, acquired }) => asked.fenced && acquired);
  const missing = fenced.filter(({ acquired }) => acquired?.fence === undefined);
  return [
    ...missing.map(
      ({ id, lines }): Finding => ({
        kind: "fence",
        text: `${id} has no token`,
        evidence: lines.slice(0, 2),
      }),
    ),
    ...byClaim(fenced.filter(({ acquired }) => acquired?.fence !== undefined)).flatMap((group) =>
      orderOf(group.map(({ attempt }) => attempt)),
    ),
  ];
}

function orderOf(attempts: Attempt[]): Finding[] {
  const found: Finding[] = [];
  const byAsking = [...attempts].sort((a, b) => a.asked.at - b.asked.at);
  const byHaving = [...attempts].sort((a, b) => had(a) - had(b));
  let next = 0;
  let highest: Attempt | undefined;
  const sameToken = new Map<number, Attempt>();
  for (const attempt of byAsking) {
    for (; next < byHaving.length && had(byHaving[next]) < attempt.asked.at; next++) {
      if (!highest || fence(byHaving[next]) > fence(highest)) highest = byHaving[next];
    }
    const twin = sameToken.get(fence(attempt));
    sameToken.set(fence(attempt), attempt);
    const before = highest && fence(highest) >= fence(attempt) ? highest : twin;
    if (!before) continue;
    found.push({
      kind: "fence",
      text: `${attempt.id} got token ${fence(attempt)} for ${attempt.key} after ${before.id} had ${fence(before)}`,
      evidence: [before, attempt].flatMap(({ asked, acquired }) => (acquired ? [asked, acquired] : [])),
    });
  }
  return found;
}

const had = (attempt: Attempt | undefined) => attempt?.acquired?.at ?? 0;
const fence = (attempt: Attempt | undefined) => attempt?.acquired?.fence ?? 0;

/** Writes to the resource, in the order they came. */
function writesOf({ director }: Story): Line<"write">[] {
  return director.filter((line) => line.what === "write");
}

/** Writes accepted although one with a greater token had been accepted before. */
export function staleWrites(story: Story): Finding[] {
  return byKey(writesOf(story)).flatMap((writes) => {
    const found: Finding[] = [];
    let highest: Line<"write"> | undefined;
    for (const write of writes) {
      if (!write.accepted || write.fence === undefined) continue;
      if (highest && write.fence < (highest.fence ?? 0)) {
        found.push({
          kind: "stale",
          text: `${write.id} wrote to ${write.key} with token ${write.fence} after ${highest.id} with ${highest.fence}`,
          evidence: [highest, write],
        });
      } else highest = write;
    }
    return found;
  });
}

/** Writes that came after another holder's although their own holder had begun before it: let in, or refused. */
export function countLateWrites(story: Story): { accepted: number; refused: number } {
  const count = { accepted: 0, refused: 0 };
  for (const writes of byKey(writesOf(story))) {
    const past = new Set<string>();
    let current: string | undefined;
    for (const { id, accepted } of writes) {
      if (!accepted) count.refused++;
      else if (past.has(id)) count.accepted++;
      if (!accepted || past.has(id) || id === current) continue;
      if (current) past.add(current);
      current = id;
    }
  }
  return count;
}
