import {
  access,
  acquired,
  asked,
  describeFinding,
  hold,
  killed,
  logs,
  releasing,
  seen,
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
  ],
  near: [
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
