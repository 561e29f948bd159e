import { expect, test } from "vitest";
import type { ClientLine } from "../log.ts";
import {
  asked,
  describeFinding,
  downFrom,
  exclusive,
  killed,
  logs,
  permit,
  refused,
  seen,
  steered,
  stoppedFrom,
} from "./handwritten.ts";
import { idleSeconds } from "./idle.ts";
import { tellStory } from "./story.ts";

/** Holders of 2 of 3 permits, and somebody who waits for so many from 100 to 12,000. */
const waits = (weight: number, id = "b-1"): ClientLine[] => [
  asked(100, id, { wait: 12_000, claims: [permit(weight, 3)] }),
  refused(12_000, id, "busy"),
];
const holder = asked(0, "a-1", { claims: [permit(2, 3)], lease: 20_000 });
const held = seen(50, 12_500, "a-1");

describeFinding("idle", {
  bad: [
    ["a permit was free, and one was waited for", logs([holder, ...waits(1)], [held])],
    ["nobody held the lock", logs(waits(3))],
    [
      "several waited, and there was room for each",
      logs([...waits(1), ...waits(3, "c-1"), ...waits(2, "d-1")]),
    ],
  ],
  near: [
    ["an operator had paused it for some of that time", logs(waits(3), [steered(5000, 6000)])],
    ["there were not enough permits for who waited", logs([holder, ...waits(2)], [held])],
    [
      "one who waited with others had no room, and may have been before them",
      logs([holder, ...waits(1), ...waits(3, "c-1")], [held]),
    ],
    ["somebody held it for a while", logs([holder, ...waits(3)], [seen(5000, 5100, "a-1")])],
    ["Redis was down for a while", logs(waits(3), [downFrom(5000, 5100)])],
    ["who waited was stopped", logs(waits(3), [stoppedFrom(5000, 5100, "b")])],
    ["who waited was killed", logs(waits(3).slice(0, 1), [killed(9000, "b")])],
    [
      "who waited may have stood in another queue",
      logs([
        asked(100, "b-1", { wait: 12_000, claims: [permit(1, 3), exclusive("j")] }),
        refused(12_000, "b-1", "busy"),
      ]),
    ],
  ],
});

test("the seconds that locks were idle are counted", () => {
  const story = logs([...waits(3), ...waits(3, "c-1")], [downFrom(1000, 2000)]);
  expect(idleSeconds(tellStory(story))).toBeCloseTo(10.9);
});
