import type { Claim, ClientLine } from "../log.ts";
import {
  acquired,
  asked,
  describeFinding,
  downFrom,
  endedNow,
  firedAt,
  hold,
  logs,
  permit,
  refused,
  released,
  releasing,
  seen,
  steered,
  stepped,
  stoppedFrom,
} from "./handwritten.ts";

describeFinding("verdict", {
  bad: [
    ["busy, with itself as the owner", logs([asked(0, "a-1"), refused(10, "a-1", "busy", "a-1")])],
    [
      "busy, with an owner that had long released",
      logs([...hold("b-1", 100, 200), asked(9000, "a-1"), refused(9010, "a-1", "busy", "b-1")]),
    ],
    [
      "busy, while the lock was its own",
      logs([asked(0, "a-1"), refused(10, "a-1", "busy")], [seen(9, 11, "a-1")]),
    ],
    [
      "busy, without a Redis",
      logs([asked(100, "a-1"), refused(110, "a-1", "busy", "b-1")], [downFrom(50, 200)]),
    ],
    ["held, without a Redis", logs(hold("a-1", 110, 120), [downFrom(50, 200)])],
    ["unknown, while nothing was the matter", logs([asked(0, "a-1"), refused(10, "a-1", "unknown")])],
    [
      "unknown, though only a stream was hit",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown")], [firedAt(9, "sseCut")]),
    ],
  ],
  near: [
    [
      "its own lock had been ended by an operator before it knew of it",
      logs(
        [asked(0, "a-1"), refused(10, "a-1", "busy")],
        [seen(5, 900, "a-1"), { ...endedNow(4, 6), now: false }],
      ),
    ],
    [
      "busy, with an owner that holds it",
      logs([...hold("b-1", 100, 900), asked(200, "a-1"), refused(210, "a-1", "busy", "b-1")]),
    ],
    [
      "busy, with an owner whose lost request brought it back",
      logs(
        [...hold("b-1", 100, 200), asked(9000, "a-1"), refused(9010, "a-1", "busy", "b-1")],
        [seen(8900, 9100, "b-1")],
      ),
    ],
    [
      "busy, by a request that found it after its own lock was gone",
      logs([asked(0, "a-1"), refused(10, "a-1", "busy")], [seen(5, 9, "a-1")]),
    ],
    [
      "busy, with a request of its own that came later",
      logs([asked(0, "a-1"), refused(10, "a-1", "busy")], [seen(11, 500, "a-1")]),
    ],
    [
      "busy, granted the lock as it left the queue",
      logs(
        [
          asked(0, "a-1", { wait: 5 }),
          { what: "waiting", at: 2, id: "a-1", lease: 2000 },
          refused(10, "a-1", "busy"),
        ],
        [seen(9, 12, "a-1")],
      ),
    ],
    [
      "busy, by an answer from before Redis went down",
      logs([asked(45, "a-1"), refused(110, "a-1", "busy", "b-1")], [downFrom(50, 200)]),
    ],
    [
      "unknown, while Redis was down",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown")], [downFrom(5, 8)]),
    ],
    [
      "unknown, a moment before Redis was known to be gone",
      logs(
        [asked(0, "a-1"), refused(10, "a-1", "unknown")],
        [
          { what: "down", at: 12, why: "killed", struck: 9 },
          { what: "up", at: 20, why: "killed" },
        ],
      ),
    ],
    [
      "unknown, when a request was lost",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown")], [firedAt(11, "dropReply")]),
    ],
    [
      "unknown, after its process had been stopped",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown")], [stoppedFrom(2, 9, "a")]),
    ],
    [
      "unknown, after its clock was moved",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown")], [stepped(2, "a")]),
    ],
    [
      "unknown, in a process that got no turn",
      logs([asked(0, "a-1"), refused(10, "a-1", "unknown"), { what: "late", at: 11, ms: 300 }]),
    ],
  ],
});

describeFinding("starved", {
  bad: [
    ["ten who came later got it", logs(waitedInVain(10))],
    ["Redis was killed, and kept its place", logs(waitedInVain(10), [downFrom(200, 210)])],
    ["Redis had forgotten all before", logs(waitedInVain(10), [downFrom(20, 30, { forgets: true })])],
    ["of permits, who wanted many of them", logs(waitedInVain(10, 10, 1100, [permit(3, 3)]))],
  ],
  near: [
    [
      "who waited for several keys stood in one queue after the other",
      logs(waitedInVain(10, 10, 1100, [permit(3, 3), permit(1, 1, "j")])),
    ],
    ["nine who came later got it", logs(waitedInVain(9))],
    ["those ten had come before", logs(waitedInVain(10, -50))],
    ["it was stopped meanwhile", logs(waitedInVain(10), [stoppedFrom(200, 300, "a")])],
    ["Redis forgot its place", logs(waitedInVain(10), [downFrom(200, 210, { forgets: true })])],
    ["an operator had paused the lock meanwhile", logs(waitedInVain(10), [steered(160, 170)])],
    ["it did not wait to the end", logs(waitedInVain(10, 0, 600))],
  ],
});

/** Somebody waits from 100 to 1100, and so many others come `later` than it and get the lock one after the other. */
function waitedInVain(others: number, later = 10, until = 1100, claims?: Claim[]): ClientLine[] {
  return [
    asked(100, "a-1", { wait: 1000, claims }),
    { what: "waiting", at: 105, id: "a-1", lease: 2000 },
    refused(until, "a-1", "busy"),
    ...Array.from({ length: others }, (_, i) => [
      asked(105 + later, `b-${i}`, { wait: 2000 }),
      acquired(200 + 10 * i, `b-${i}`),
      releasing(205 + 10 * i, `b-${i}`),
      released(206 + 10 * i, `b-${i}`, true),
    ]).flat(),
  ];
}
