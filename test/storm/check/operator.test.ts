import type { ClientLine } from "../log.ts";
import {
  aborted,
  acquired,
  asked,
  describeFinding,
  downFrom,
  endedNow,
  firedAt,
  hold,
  logs,
  permit,
  releasing,
  renewed,
  seenEnded,
  steered,
  stoppedFrom,
} from "./handwritten.ts";

const limitOf = (limit: number) => ({ act: "limit" as const, limit });

describeFinding("letin", {
  bad: [
    ["it asked after a pause was set", logs(hold("a-1", 300, 320), steered(200, 400))],
    [
      "two had more than an operator's limit",
      logs([...share("a-1", 300, 1), ...share("a-2", 310, 1)], steered(200, 400, limitOf(1))),
    ],
    ["a pause is not over yet", logs(hold("a-1", 300, 320), steered(200, 400).slice(0, 2))],
  ],
  near: [
    ["it asked before the pause was known to hold", logs(hold("a-1", 205, 320), steered(200, 400))],
    ["the pause was being lifted", logs(hold("a-1", 405, 420), steered(200, 400))],
    ["another key was paused", logs(hold("a-1", 300, 320, { key: "other" }), steered(200, 400))],
    [
      "Redis forgot the pause",
      logs(hold("a-1", 300, 320), [steered(200, 400), downFrom(250, 260, { forgets: true })]),
    ],
    [
      "one that wanted more than the limit came in alone",
      logs(share("a-1", 300, 3), steered(200, 400, limitOf(2))),
    ],
    [
      "two had no more than the operator's limit",
      logs([...share("a-1", 300, 1), ...share("a-2", 310, 1)], steered(200, 400, limitOf(2))),
    ],
    ["a limit is nothing to an exclusive lock", logs(hold("a-1", 300, 320), steered(200, 400, limitOf(1)))],
  ],
});

const byOperator = "LockLostError: the lock was lost: an operator ended it";
const byAnother = "LockLostError: the lock was lost: another has it, or it was deleted";
const byItsEnd = "LockLostError: the lock was lost: its lease ended";

describeFinding("untold", {
  bad: [
    ["another reason was told", logs(lost(byAnother), [seenEnded(200, 100, 900, "a-1")])],
    [
      "nothing was the matter, and its renewal told nothing",
      logs(lost(byItsEnd), [seenEnded(200, 100, 900, "a-1")]),
    ],
    [
      "a renewal long after was not refused",
      logs(
        [asked(90, "a-1", { renew: true }), acquired(100, "a-1"), renewed(900, "a-1"), renewed(1750, "a-1")],
        [seenEnded(200, 100, 1800, "a-1")],
      ),
    ],
  ],
  near: [
    ["it was told of the operator", logs(lost(byOperator), [seenEnded(200, 100, 900, "a-1")])],
    [
      "its requests were lost, and its lease ended",
      logs(lost(byItsEnd), [seenEnded(200, 100, 900, "a-1"), firedAt(600, "dropRequest")]),
    ],
    ["it does not renew", logs(lost(byItsEnd, false), [seenEnded(200, 100, 900, "a-1")])],
    [
      "an operator ended it once more, at once",
      logs(lost(byAnother, false), [seenEnded(200, 100, 900, "a-1"), endedNow(300, 310)]),
    ],
    [
      "another's was ended",
      logs([...lost(byAnother), ...hold("b-1", 20, 40)], [seenEnded(30, 20, 45, "b-1")]),
    ],
    [
      "a renewal was on its way",
      logs(
        [asked(90, "a-1", { renew: true }), acquired(100, "a-1"), renewed(600, "a-1")],
        [seenEnded(200, 100, 900, "a-1")],
      ),
    ],
    [
      "its process was stopped, and found the answer later",
      logs(
        [asked(90, "a-1", { renew: true }), acquired(100, "a-1"), renewed(3000, "a-1")],
        [seenEnded(200, 100, 900, "a-1"), stoppedFrom(250, 2990, "a")],
      ),
    ],
    [
      "it had let go",
      logs(
        [
          ...hold("a-1", 100, 190, { renew: true }),
          aborted(190.1, "a-1", "AbortError: The lock was released"),
        ],
        [seenEnded(180, 100, 195, "a-1")],
      ),
    ],
  ],
});

/** One that holds some of nine permits for 50 ms. */
function share(id: string, from: number, weight: number): ClientLine[] {
  return hold(id, from, from + 50, { claims: [permit(weight, 9)] });
}

/** One that held the lock from 100 to 700, and was told why no longer. */
function lost(why: string, renew = true): ClientLine[] {
  return [asked(90, "a-1", { renew }), acquired(100, "a-1"), aborted(700, "a-1", why), releasing(710, "a-1")];
}
