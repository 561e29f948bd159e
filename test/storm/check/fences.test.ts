import { acquired, asked, describeFinding, hold, logs, write } from "./handwritten.ts";

describeFinding("fence", {
  bad: [
    [
      "a later holder's token was lower",
      logs([
        ...hold("a-1", 100, 200, { fenced: true }, { fence: 7 }),
        ...hold("b-1", 300, 400, { fenced: true }, { fence: 6 }),
      ]),
    ],
    [
      "two had the same token",
      logs([
        ...hold("a-1", 100, 200, { fenced: true }, { fence: 7 }),
        ...hold("b-1", 300, 400, { fenced: true }, { fence: 7 }),
      ]),
    ],
    ["there was none", logs(hold("a-1", 100, 200, { fenced: true }))],
    [
      "the lower one came after several",
      logs([
        ...hold("a-1", 100, 110, { fenced: true }, { fence: 7 }),
        ...hold("b-1", 200, 210, { fenced: true }, { fence: 9 }),
        ...hold("c-1", 300, 310, { fenced: true }, { fence: 8 }),
      ]),
    ],
  ],
  near: [
    [
      "tokens rose",
      logs([
        ...hold("a-1", 100, 200, { fenced: true }, { fence: 7 }),
        ...hold("b-1", 300, 400, { fenced: true }, { fence: 8 }),
      ]),
    ],
    [
      "the lower one was asked for before the higher one was had",
      logs([
        asked(50, "a-1", { fenced: true }),
        ...hold("b-1", 100, 200, { fenced: true }, { fence: 8 }),
        acquired(300, "a-1", 10, { fence: 7 }),
      ]),
    ],
    [
      "the other lock has tokens of its own",
      logs([
        ...hold("a-1", 100, 200, { fenced: true }, { fence: 7 }),
        ...hold("b-1", 300, 400, { fenced: true, key: "other" }, { fence: 6 }),
      ]),
    ],
  ],
});

describeFinding("stale", {
  bad: [["a lower token was let in", logs([], [write(1, "a-1", 7), write(2, "b-1", 8), write(3, "a-1", 7)])]],
  near: [
    [
      "a lower token was refused",
      logs([], [write(1, "a-1", 7), write(2, "b-1", 8), write(3, "a-1", 7, false)]),
    ],
    ["the same token wrote again", logs([], [write(1, "a-1", 7), write(2, "a-1", 7)])],
    ["there were no tokens", logs([], [write(1, "a-1", undefined), write(2, "b-1", undefined)])],
  ],
});
