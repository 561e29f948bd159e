import type { ClientLine } from "../log.ts";
import {
  acquired,
  asked,
  describeFinding,
  downFrom,
  exclusive,
  firedAt,
  hold,
  killed,
  logs,
  refused,
  seen,
  sure,
} from "./handwritten.ts";

describeFinding("orphan", {
  bad: [
    [
      "a lock nobody ever believed in stayed",
      logs([asked(0, "a-1"), refused(100, "a-1", "unknown")], [downFrom(0, 200), seen(150, 1700, "a-1")]),
    ],
    [
      "a killed holder's lock stayed",
      logs([asked(90, "a-1"), acquired(100, "a-1")], [killed(200, "a"), seen(100, 1701, "a-1")]),
    ],
    ["a released lock stayed", logs(hold("a-1", 100, 200), [seen(100, 1701, "a-1")])],
    [
      "a lock of no known holder stayed",
      logs(
        [asked(0, "a-1"), refused(1, "a-1", "busy", "x-1")],
        [seen(100, 1700, "?a"), seen(100, 1601, "?b")],
      ),
    ],
    [
      "a dead waiter's grant stayed longer than a grant does",
      logs(
        [asked(0, "a-1", { wait: 3000 }), { what: "waiting", at: 10, id: "a-1", lease: 2000 }],
        [killed(100, "a"), seen(200, 2701, "a-1")],
      ),
    ],
  ],
  near: [
    [
      "a lock nobody ever believed in stayed one lease and one request",
      logs([asked(0, "a-1"), refused(100, "a-1", "unknown")], [downFrom(0, 200), seen(150, 1650, "a-1")]),
    ],
    [
      "a killed holder's lock stayed one lease",
      logs([asked(90, "a-1"), acquired(100, "a-1")], [killed(200, "a"), seen(100, 1200, "a-1")]),
    ],
    [
      "a holder renewed its lock for long",
      logs(
        [
          asked(90, "a-1"),
          acquired(100, "a-1"),
          { what: "renewed", id: "a-1", ...sure(900, 900) },
          { what: "renewed", id: "a-1", ...sure(1700, 900) },
        ],
        [seen(100, 2600, "a-1")],
      ),
    ],
    [
      "a dead waiter's grant stayed as long as a grant does",
      logs(
        [asked(0, "a-1", { wait: 3000 }), { what: "waiting", at: 10, id: "a-1", lease: 2000 }],
        [killed(100, "a"), seen(200, 2700, "a-1")],
      ),
    ],
  ],
});

describeFinding("leak", {
  bad: [
    ["a key without an end", logs([], [{ what: "left", at: 0, key: "k:queue", pttl: -1, most: 500 }])],
    ["a key that lives too long", logs([], [{ what: "left", at: 0, key: "k:queue", pttl: 501, most: 500 }])],
    ["a key that nobody should have made", logs([], [{ what: "left", at: 0, key: "k:odd", pttl: 5 }])],
    ["a lock without an end", logs([], [seen(1, 1, "a-1", -1)])],
  ],
  near: [["a key on its way out", logs([], [{ what: "left", at: 0, key: "k:queue", pttl: 500, most: 500 }])]],
});

const both = { wait: 50, key: "j, k", claims: [exclusive("j"), exclusive("k")] };
const inVain: ClientLine[] = [
  asked(0, "a-1", both),
  { what: "waiting", at: 10, id: "a-1", lease: 2000 },
  refused(100, "a-1", "busy", "b-1"),
];
describeFinding("vain", {
  bad: [["one of two keys stayed", logs(inVain, [seen(50, 601, "a-1")])]],
  near: [
    ["it went within a request's limit", logs(inVain, [seen(50, 600, "a-1")])],
    [
      "the request that let it go was lost",
      logs(inVain, [seen(50, 900, "a-1"), firedAt(101, "dropRequest")]),
    ],
    ["the other was had in the end", logs(hold("a-1", 100, 200, both), [seen(50, 900, "a-1")])],
  ],
});
