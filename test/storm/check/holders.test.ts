import type { Claim, ClientLine } from "../log.ts";
import {
  access,
  acquired,
  asked,
  describeFinding,
  endedNow,
  exclusive,
  hold,
  killed,
  logs,
  permit,
  releasing,
  seen,
  shared,
  steered,
  sure,
} from "./handwritten.ts";

describeFinding("overlap", {
  bad: [
    ["two held at once", logs([...hold("a-1", 100, 200), ...hold("b-1", 150, 250)])],
    [
      "a long hold met the last of three",
      logs([...hold("a-1", 100, 900), ...hold("b-1", 150, 160, { key: "other" }), ...hold("c-1", 890, 950)]),
    ],
    [
      "a stopped process still had some of its lease",
      logs([asked(90, "a-1"), acquired(100, "a-1", 300), ...hold("b-1", 350, 400)]),
    ],
    [
      "a stopped process believed again, by its clock, before the other let go",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1", 300),
        ...hold("b-1", 450, 500),
        access(490, "a-1", 200),
        releasing(510, "a-1"),
      ]),
    ],
    [
      "a renewal made it longer",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1", 300),
        { what: "renewed", id: "a-1", ...sure(300, 300) },
        ...hold("b-1", 550, 600),
      ]),
    ],
    [
      "permits were more than there are",
      logs([permit(2, 3), permit(1, 3), permit(1, 3)].flatMap((claim, i) => held(`a-${i}`, [claim]))),
    ],
    ["a reader held beside a writer", logs([...held("a-1", [shared]), ...held("b-1", [exclusive("k")])])],
    ["a permit was held beside a reader", logs([...held("a-1", [shared]), ...held("b-1", [permit(1, 9)])])],
    [
      "one of several keys was another's",
      logs([...held("a-1", [exclusive("j"), exclusive("k")]), ...hold("b-1", 150, 250)]),
    ],
    [
      "a reader was let in before the writer shared",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        ...hold("b-1", 140, 200, { claims: [shared] }),
        { what: "downgrading", at: 150, id: "a-1" },
      ]),
    ],
    [
      "a writer was let in beside one that shares",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        { what: "downgrading", at: 110, id: "a-1" },
        ...hold("b-1", 140, 200),
      ]),
    ],
    [
      "it was let in after an operator had ended the lock at once",
      logs(
        [asked(90, "a-1"), acquired(150, "a-1"), ...hold("b-1", 160, 200)],
        [endedNow(130, 140), seen(135, 155, "a-1")],
      ),
    ],
    [
      "more permits than an operator's limit, which was over when they were asked for",
      logs(
        [permit(2, 3), permit(2, 3)].flatMap((claim, i) => held(`a-${i}`, [claim])),
        [steered(20, 30, { act: "limit", limit: 4 })],
      ),
    ],
  ],
  near: [
    [
      "an operator ended the lock at once",
      logs([asked(90, "a-1"), acquired(100, "a-1"), ...hold("b-1", 160, 200)], [endedNow(130, 140)]),
    ],
    [
      "an operator ended the lock at once, and its holder did not know yet that it had it",
      logs([asked(90, "a-1"), acquired(150, "a-1"), ...hold("b-1", 160, 200)], [endedNow(130, 140)]),
    ],
    [
      "an operator had set a higher limit",
      logs(
        [permit(2, 3), permit(2, 3)].flatMap((claim, i) => held(`a-${i}`, [claim])),
        [steered(60, 500, { act: "limit", limit: 4 })],
      ),
    ],
    [
      "all permits were held",
      logs([permit(2, 3), permit(1, 3)].flatMap((claim, i) => held(`a-${i}`, [claim]))),
    ],
    [
      "one with a lower limit had come first",
      logs([permit(2, 2), permit(3, 5)].flatMap((claim, i) => held(`a-${i}`, [claim]))),
    ],
    ["two read", logs([...held("a-1", [shared]), ...held("b-1", [shared])])],
    [
      "a reader was let in when the writer shared",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        { what: "downgrading", at: 139, id: "a-1" },
        ...hold("b-1", 140, 200, { claims: [shared] }),
      ]),
    ],
    ["one began as the other let go", logs([...hold("a-1", 100, 200), ...hold("b-1", 200, 250)])],
    [
      "of two, one was of another lock",
      logs([...hold("a-1", 100, 200), ...hold("b-1", 150, 250, { key: "other" })]),
    ],
    [
      "a stopped process had nothing of its lease left",
      logs([asked(90, "a-1"), acquired(100, "a-1", 300), ...hold("b-1", 401, 450), releasing(500, "a-1")]),
    ],
    [
      "a stopped process believed again, by its clock, when the other had let go",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1", 300),
        ...hold("b-1", 450, 500),
        access(600, "a-1", 200),
        releasing(610, "a-1"),
      ]),
    ],
    [
      "it was told to stop before the other began",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        { what: "aborted", at: 140, id: "a-1", why: "" },
        ...hold("b-1", 150, 250),
      ]),
    ],
    [
      "it was dead before the other began",
      logs([asked(90, "a-1"), acquired(100, "a-1"), ...hold("b-1", 150, 250)], [killed(140, "a")]),
    ],
  ],
});

describeFinding("access", {
  bad: [
    [
      "it went on after its signal had aborted",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        { what: "aborted", at: 140, id: "a-1", why: "" },
        access(141, "a-1"),
      ]),
    ],
    [
      "it was not told to stop when nothing of its lease was left",
      logs([asked(90, "a-1"), acquired(100, "a-1"), access(2000, "a-1", 0)]),
    ],
  ],
  near: [
    [
      "it stopped when it was told to",
      logs([
        asked(90, "a-1"),
        acquired(100, "a-1"),
        access(139, "a-1", 1),
        { what: "aborted", at: 140, id: "a-1", why: "" },
        releasing(141, "a-1"),
      ]),
    ],
  ],
});

describeFinding("validity", {
  bad: [
    [
      "it counted from a late reply",
      logs([asked(90, "a-1"), acquired(300, "a-1", 980)], [seen(110, 400, "a-1", 990, 1110)]),
    ],
  ],
  near: [
    [
      "it counted from its request",
      logs([asked(90, "a-1"), acquired(300, "a-1", 780)], [seen(110, 400, "a-1", 990, 1110)]),
    ],
    [
      "Redis was asked before the lease was set anew",
      logs([asked(90, "a-1"), acquired(300, "a-1", 980)], [seen(110, 290, "a-1", 990, 1110)]),
    ],
    [
      "it was renewed",
      logs(
        [asked(90, "a-1", { renew: true }), acquired(300, "a-1", 980)],
        [seen(110, 400, "a-1", 990, 1110)],
      ),
    ],
    [
      "it was a grant, and is made a lease",
      logs(
        [
          asked(90, "a-1", { wait: 500 }),
          { what: "waiting", at: 100, id: "a-1", lease: 2000 },
          acquired(300, "a-1", 1900),
        ],
        [seen(290, 400, "a-1", 2000, 1310)],
      ),
    ],
  ],
});

/** Held from 100 to 200. */
function held(id: string, claims: Claim[]): ClientLine[] {
  return hold(id, 100, 200, { key: claims.map(({ key }) => key).join(", "), claims });
}
