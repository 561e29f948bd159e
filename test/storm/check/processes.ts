import { type Finding, gist } from "./finding.ts";
import type { Story } from "./story.ts";

/** Processes that had to be ended, or ended by an error; killed ones aside. */
export function processes({ director, killed }: Story): Finding[] {
  return director.flatMap((line): Finding[] => {
    if (line.what === "stuck") {
      return [{ kind: "process", text: `${line.client} did not exit by itself`, evidence: [line] }];
    }
    if (line.what !== "exited" || line.code === 0 || killed.has(line.client)) return [];
    if (
      director.some(
        ({ what, ...rest }) => what === "stuck" && "client" in rest && rest.client === line.client,
      )
    )
      return [];
    return [{ kind: "process", text: `${line.client} ended with code ${line.code}`, evidence: [line] }];
  });
}

/** Answers that are neither held, busy nor unknown. */
export function errors({ attempts }: Story): Finding[] {
  return attempts.flatMap(({ id, refused, lines }): Finding[] =>
    refused?.verdict === "error"
      ? [{ kind: "error", text: `${id} got ${refused.why}`, evidence: gist(lines) }]
      : [],
  );
}
