import { asked, describeFinding, killed, logs, refused } from "./handwritten.ts";

describeFinding("process", {
  bad: [
    [
      "one that had to be ended",
      logs(
        [],
        [
          { what: "stuck", at: 1, client: "a" },
          { what: "exited", at: 2, client: "a", code: null },
        ],
      ),
    ],
    ["one that failed", logs([], [{ what: "exited", at: 2, client: "a", code: 1 }])],
  ],
  near: [
    ["one that exited by itself", logs([], [{ what: "exited", at: 2, client: "a", code: 0 }])],
    ["one that was killed", logs([], [killed(1, "a"), { what: "exited", at: 2, client: "a", code: null }])],
  ],
});

describeFinding("error", {
  bad: [["an answer that is none", logs([asked(0, "a-1"), refused(10, "a-1", "error")])]],
  near: [["busy is an answer", logs([asked(0, "a-1"), refused(10, "a-1", "busy")])]],
});
