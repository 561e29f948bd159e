import { describe, expect, test } from "vitest";
import { check } from "../checker.ts";
import type { Claim, ClientLine, DirectorLine, Logs, Steering } from "../log.ts";
import type { FindingKind } from "./finding.ts";

// Logs written by hand, to check the checks. A client is named by the ids of its lines; times are in ms.

type Options = Partial<Extract<ClientLine, { what: "asked" }>>;

export const asked = (at: number, id: string, options: Options = {}): ClientLine => ({
  what: "asked",
  at,
  id,
  key: "k",
  wait: 0,
  renew: false,
  ttl: 1000,
  lease: 1000,
  limit: 500,
  fenced: false,
  ...options,
});
export const permit = (weight: number, limit: number, key = "k"): Claim => ({
  key,
  mode: "permit",
  limit,
  weight,
});
export const shared: Claim = { key: "k", mode: "shared", weight: 1 };
export const exclusive = (key: string): Claim => ({ key, mode: "exclusive", weight: 1 });
/** What was sure at a moment: the moment, how long, and when that was read. */
export const sure = (at: number, ms: number, read = at) => ({ at, sure: ms, read });
export const acquired = (at: number, id: string, ms = 900, more = {}): ClientLine => ({
  what: "acquired",
  id,
  ...sure(at, ms),
  ...more,
});
export const access = (at: number, id: string, ms = 500): ClientLine => ({
  what: "access",
  id,
  ...sure(at, ms),
});
export const releasing = (at: number, id: string): ClientLine => ({ what: "releasing", at, id });
export const released = (at: number, id: string, ours?: boolean): ClientLine => ({
  what: "released",
  at,
  id,
  ours,
});
export const refused = (
  at: number,
  id: string,
  verdict: "busy" | "unknown" | "error",
  owner?: string,
): ClientLine => ({
  what: "refused",
  at,
  id,
  verdict,
  owner,
  why: "for a test",
});
export const seen = (at: number, to: number, id: string, pttl = 1000, end = 9e9): DirectorLine => ({
  what: "seen",
  at,
  to,
  key: "k",
  id,
  pttl,
  read: to,
  end,
});
/** A lock that an operator ended safely at a time, as it was seen. */
export const seenEnded = (ended: number, at: number, to: number, id: string): DirectorLine => ({
  ...(seen(at, to, id) as Extract<DirectorLine, { what: "seen" }>),
  ended,
});
/** An operator ended a lock at once. */
export const endedNow = (at: number, to: number): Extract<DirectorLine, { what: "ended" }> => ({
  what: "ended",
  at,
  to,
  key: "k",
  now: true,
  released: true,
});
/** An operator set something that held from one time to another, and was over 50 ms later. */
export const steered = (
  holds: number,
  lifting: number,
  what: Omit<Steering, "key"> = { act: "pause" },
): DirectorLine[] =>
  Object.entries({ asked: holds - 10, holds, lifting, over: lifting + 50 }).map(([step, at]) => ({
    what: "steering",
    at,
    step: step as "asked" | "holds" | "lifting" | "over",
    key: "k",
    ...what,
  }));
export const renewed = (at: number, id: string, ms = 900): ClientLine => ({
  what: "renewed",
  id,
  ...sure(at, ms),
});
export const aborted = (at: number, id: string, why: string): ClientLine => ({
  what: "aborted",
  at,
  id,
  why,
});
export const write = (at: number, id: string, fence: number | undefined, accepted = true): DirectorLine => ({
  what: "write",
  at,
  key: "k",
  id,
  fence,
  checked: at,
  accepted,
});
export const killed = (at: number, client: string): DirectorLine => ({ what: "killed", at, client });

/** One hold, from its asking to its release. */
export const hold = (id: string, from: number, to: number, options?: Options, more = {}): ClientLine[] => [
  asked(from - 10, id, options),
  acquired(from, id, 900, more),
  releasing(to, id),
  released(to + 5, id, true),
];

export function logs(clientLines: ClientLine[], director: (DirectorLine | DirectorLine[])[] = []): Logs {
  const clients = new Map<string, ClientLine[]>();
  for (const line of clientLines) {
    const client = "id" in line ? (line.id.split("-")[0] as string) : "a";
    clients.set(client, [...(clients.get(client) ?? []), line]);
  }
  return { clients, director: director.flat() };
}

export const downFrom = (from: number, to: number, more = {}): DirectorLine[] => [
  { what: "down", at: from, why: "killed", ...more },
  { what: "up", at: to, why: "killed" },
];
export const stoppedFrom = (from: number, to: number, client: string): DirectorLine[] => [
  { what: "stopped", at: from, client },
  { what: "continued", at: to, client },
];
export const firedAt = (at: number, kind: string): DirectorLine => ({ what: "fired", at, kind, count: 1 });
export const stepped = (at: number, client: string): DirectorLine => ({
  what: "stepped",
  at,
  client,
  ms: 5000,
});

/** @param cases logs in which just this is found, with evidence, and logs that come near to it and are fine */
export function describeFinding(
  kind: FindingKind,
  cases: { bad: [string, Logs][]; near: [string, Logs][] },
): void {
  const findingsOf = (all: Logs) => check(all, { acquisitions: 0, faults: [], tells: true }).findings;
  describe(kind, () => {
    test.each(cases.bad)("is found: %s", (_, all) => {
      const findings = findingsOf(all);
      expect([...new Set(findings.map((finding) => finding.kind))]).toEqual([kind]);
      for (const { text, evidence } of findings) {
        expect(text).not.toBe("");
        expect(evidence.length).toBeGreaterThan(0);
      }
    });
    test.each(cases.near)("is not found: %s", (_, all) => {
      expect(findingsOf(all)).toEqual([]);
    });
  });
}
