import type { ClientLine, DirectorLine } from "../log.ts";
import {
  acquired,
  asked,
  describeFinding,
  downFrom,
  hold,
  killed,
  logs,
  refused,
  releasing,
  seen,
  stepped,
} from "./handwritten.ts";

describeFinding("value", {
  bad: [
    [
      "two were given different ones",
      logs([...run("a-1"), ...given(250, "b-1", "a-1"), ...given(260, "c-1", "a-1", 8)]),
    ],
    ["nobody made it", logs([...given(250, "b-1", "a-1")])],
    ["it was made for another key", logs([...run("a-1", { key: "other" }), ...given(250, "b-1", "a-1")])],
    ["the work was not done yet", logs([...run("a-1"), ...given(190, "b-1", "a-1")])],
    ["the work failed", logs([...failed("a-1"), ...given(250, "b-1", "a-1")])],
    ["it was given its own, and had not worked", logs([...given(250, "b-1", "b-1")])],
  ],
  near: [
    [
      "all were given what was made",
      logs([...run("a-1"), ...given(250, "b-1", "a-1"), ...given(260, "c-1", "a-1")]),
    ],
    ["it was told before its maker was", logs([...run("a-1"), ...given(201, "b-1", "a-1")])],
    [
      "its maker was killed as it was stored",
      logs([...made("a-1"), ...given(250, "b-1", "a-1")], [killed(201, "a")]),
    ],
  ],
});

describeFinding("lost", {
  bad: [
    ["it was given, and its maker told of the loss", logs([...lost("a-1"), ...given(250, "b-1", "a-1")])],
    ["it was stored, and its maker told of the loss", logs(lost("a-1"), [stored(220, 210, "a-1")])],
    [
      "it was stored after the lock had gone",
      logs(run("a-1"), [heldUntil(180, 190, "a-1"), stored(220, 210, "a-1")]),
    ],
    [
      "it was stored once more, after it was over",
      logs(run("a-1"), [heldUntil(190, 210, "a-1"), stored(210, 195, "a-1"), stored(990, 980, "a-1")]),
    ],
  ],
  near: [
    [
      "it was there as the lock had gone",
      logs(run("a-1"), [heldUntil(190, 210, "a-1"), stored(210, 195, "a-1")]),
    ],
    [
      "Redis could not be looked at in between",
      logs(run("a-1"), [heldUntil(190, 900, "a-1"), stored(900, 195, "a-1")]),
    ],
    ["the lock was never seen", logs(run("a-1"), [stored(210, 195, "a-1")])],
    ["another's was given then", logs([...lost("a-1"), ...run("c-1", {}, 300), ...given(450, "b-1", "c-1")])],
  ],
});

describeFinding("old", {
  bad: [
    ["it asked after its time", logs([...run("a-1"), ...given(900, "b-1", "a-1", 7, 810)])],
    [
      "it was for those who wait, and it came later",
      logs([...run("a-1", { keepFor: 0 }), ...given(400, "b-1", "a-1", 7, 310)]),
    ],
    [
      "nobody told its maker, and it was seen long before",
      logs(
        [...made("a-1"), ...given(900, "b-1", "a-1", 7, 890)],
        [killed(201, "a"), stored(220, 190, "a-1")],
      ),
    ],
  ],
  near: [
    ["it asked in its time", logs([...run("a-1"), ...given(900, "b-1", "a-1", 7, 690)])],
    [
      "it had waited since before",
      logs([...run("a-1", { keepFor: 0 }), ...given(2900, "b-1", "a-1", 7, 150)]),
    ],
    [
      "nobody told its maker, and its last request may have come late",
      logs([...made("a-1"), ...given(900, "b-1", "a-1", 7, 890)], [killed(201, "a")]),
    ],
  ],
});

describeFinding("again", {
  bad: [["one worked within its time", logs([...run("a-1"), ...hold("b-1", 400, 450, { keepFor: 500 })])]],
  near: [
    ["one worked when it was over", logs([...run("a-1"), ...hold("b-1", 720, 750, { keepFor: 500 })])],
    [
      "it was for those who wait",
      logs([...run("a-1", { keepFor: 0 }), ...hold("b-1", 400, 450, { keepFor: 500 })]),
    ],
    [
      "an operator ended the other's lock at once before it knew that it had it",
      logs(
        [...run("a-1"), asked(100, "b-1", { keepFor: 500 }), acquired(400, "b-1"), releasing(450, "b-1")],
        [{ what: "ended", at: 110, to: 120, key: "k", now: true, released: true }],
      ),
    ],
    ["another key's", logs([...run("a-1"), ...hold("b-1", 400, 450, { keepFor: 500, key: "other" })])],
    ["the work had failed", logs([...failed("a-1"), ...hold("b-1", 400, 450, { keepFor: 500 })])],
    ["its maker had lost the lock", logs([...lost("a-1"), ...hold("b-1", 400, 450, { keepFor: 500 })])],
    [
      "its maker was told that it is not kept",
      logs([
        ...run("a-1"),
        { what: "unkept", at: 204, id: "a-1", why: "LockUnavailableError" },
        ...hold("b-1", 400, 450, { keepFor: 500 }),
      ]),
    ],
    [
      "Redis had forgotten it",
      logs(
        [...run("a-1"), ...hold("b-1", 400, 450, { keepFor: 500 })],
        [downFrom(300, 310, { forgets: true })],
      ),
    ],
    [
      "its maker's clock was moved, which may take it for over",
      logs([...run("a-1"), ...hold("b-1", 400, 450, { keepFor: 500 })], [stepped(202, "a")]),
    ],
    [
      "one was told that it is busy",
      logs([...run("a-1"), asked(390, "b-1", { keepFor: 500 }), refused(400, "b-1", "busy", "c-9")]),
    ],
  ],
});

/** Works from 100 ms before its end to then, and is about to store what it made. */
function made(id: string, options = {}, end = 200): ClientLine[] {
  return [
    asked(end - 110, id, { keepFor: 500, ...options }),
    acquired(end - 100, id),
    { what: "releasing", at: end, id, value: 7 },
  ];
}

/** Works, and is told 5 ms later that all went well. */
function run(id: string, options = {}, end = 200): ClientLine[] {
  return [...made(id, options, end), { what: "released", at: end + 5, id, ours: true }];
}

function lost(id: string): ClientLine[] {
  return [...made(id), { what: "released", at: 205, id, ours: false, why: "LockLostError" }];
}

function failed(id: string): ClientLine[] {
  const work = [asked(90, id, { keepFor: 500 }), acquired(100, id), releasing(200, id)];
  return [...work, { what: "released", at: 205, id, why: "Error: the work failed" }];
}

/** Somebody asks, by default while it is worked, and is given what was made. */
function given(at: number, id: string, run: string, value = 7, from = 150): ClientLine[] {
  return [asked(from, id, { keepFor: 500, wait: 5000 }), { what: "given", at, id, run, value }];
}

/** A lock last seen, and when it was found gone. */
function heldUntil(to: number, gone: number, id: string): DirectorLine {
  return { ...(seen(100, to, id) as Extract<DirectorLine, { what: "seen" }>), gone };
}

function stored(at: number, before: number, id: string): DirectorLine {
  return { what: "stored", at, before, key: "k", id };
}
