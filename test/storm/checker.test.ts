import { describe, expect, test } from "vitest";
import {
  acquired,
  asked,
  downFrom,
  endedNow,
  firedAt,
  hold,
  killed,
  logs,
  refused,
  seen,
  steered,
  stepped,
  stoppedFrom,
  write,
} from "./check/handwritten.ts";
import { check } from "./checker.ts";
import type { DirectorLine, Logs } from "./log.ts";

const vacuous = (all: Logs, faults: string[], acquisitions = 1) =>
  check(all, { acquisitions, faults, tells: true })
    .findings.filter(({ kind }) => kind === "vacuous")
    .map(({ text }) => text);

describe("a storm is vacuous", () => {
  const held = hold("a-1", 100, 200);

  test("without enough acquisitions", () => {
    expect(vacuous(logs(held), [], 2)).toEqual(["1 acquisitions, of 2 at least"]);
    expect(vacuous(logs(held), [], 1)).toEqual([]);
  });

  const faults: [string, string, Logs, Logs][] = [
    [
      "without a lost reply",
      "dropReply",
      logs(held, [firedAt(1, "reset")]),
      logs(held, [firedAt(1, "dropReply")]),
    ],
    ["without a step of a clock", "clock stepped", logs(held), logs(held, [stepped(1, "a")])],
    ["without a kill of Redis", "Redis killed", logs(held, [paused(1)]), logs(held, [downFrom(1, 2)])],
    ["without a pause of Redis", "Redis paused", logs(held, [downFrom(1, 2)]), logs(held, [paused(1)])],
    [
      "where nobody was given another's result",
      "given another's result",
      logs([...held, asked(150, "b-1", { keepFor: 0 }), refused(160, "b-1", "busy")]),
      logs([
        ...held,
        asked(150, "b-1", { keepFor: 0 }),
        { what: "given", at: 160, id: "b-1", run: "a-1", value: 1 },
      ]),
    ],
    ["without a pause by an operator", "paused by an operator", logs(held), logs(held, [steered(1, 2)])],
    [
      "without a lock that an operator ended",
      "released by an operator",
      logs(held, [{ ...endedNow(1, 2), released: false }]),
      logs(held, [endedNow(1, 2)]),
    ],
    [
      "where nobody was killed while it held a lock",
      "killed holding",
      logs(held, [killed(250, "a")]),
      logs([asked(90, "a-1"), acquired(100, "a-1")], [killed(150, "a")]),
    ],
    [
      "where nobody was killed while it waited",
      "killed waiting",
      logs([...held, asked(300, "a-2")], [killed(350, "a")]),
      logs([...held, asked(300, "a-2", { wait: 500 })], [killed(350, "a")]),
    ],
    [
      "where nobody was stopped past its lease",
      "stopped past its lease",
      logs([asked(90, "a-1"), acquired(100, "a-1")], [stoppedFrom(150, 900, "a")]),
      logs([asked(90, "a-1"), acquired(100, "a-1")], [stoppedFrom(150, 1100, "a")]),
    ],
  ];
  test.each(faults)("%s", (_, kind, without, having) => {
    expect(vacuous(without, [kind])).toEqual([`no fault of the kind "${kind}"`]);
    expect(vacuous(having, [kind])).toEqual([]);
  });
});

test("what a library never said is not held against it", () => {
  const late = logs([asked(90, "a-1"), acquired(300, "a-1", 980)], [seen(110, 400, "a-1", 990, 1110)]);
  const kinds = (tells: boolean) =>
    check(late, { acquisitions: 0, faults: [], tells }).findings.map(({ kind }) => kind);
  expect(kinds(true)).toEqual(["validity"]);
  expect(kinds(false)).toEqual([]);
});

test("the figures count what was seen", () => {
  const { figures } = check(
    logs(
      [
        ...hold("a-1", 100, 200),
        asked(210, "a-2"),
        refused(220, "a-2", "unknown"),
        asked(90, "b-1"),
        refused(110, "b-1", "busy", "a-1"),
        asked(5000, "b-2"),
        acquired(5010, "b-2"),
      ],
      [
        firedAt(215, "reset"),
        killed(5100, "b"),
        seen(100, 300, "a-1"),
        seen(5010, 6000, "b-2"),
        write(101, "a-1", 1),
        write(102, "b-1", 2),
        write(103, "a-1", 1, false),
        write(104, "b-9", undefined),
        write(105, "b-1", undefined),
      ],
    ),
    { acquisitions: 0, faults: [], tells: true },
  );
  expect(figures).toMatchObject({
    attempts: 4,
    acquisitions: 2,
    busy: 1,
    unknown: 1,
    untroubled: 2,
    processes: 2,
    lateWrites: { accepted: 1, refused: 1 },
  });
  expect(figures.orphanSeconds.alive).toBeCloseTo(0.095);
  expect(figures.orphanSeconds.killed).toBeCloseTo(0.9);
});

function paused(at: number): DirectorLine[] {
  return [
    { what: "down", at, why: "paused" },
    { what: "up", at: at + 1, why: "paused" },
  ];
}
