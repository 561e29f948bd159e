import { fairness } from "./lib/handovers.ts";
import { readPlan } from "./lib/round-options.ts";
import { publishRounds } from "./lib/round-report.ts";
import { type Cell, playRounds } from "./lib/rounds.ts";
import { median } from "./lib/stats.ts";

const file = "bench/fairness.ts";
const asked = readPlan({
  file,
  about: "In what order a crowd that waits for a lock is served, and how long each waits.",
  /**
   * Closer, a crowd of 100 asks for more than two cores serve, three requests each: whoever's request the machine
   * happens to take first makes the order then. At 2 ms apart, 77 % to 100 % of this library's hand-overs were seen in
   * order at a round trip of 5 ms, and 81 % to 100 % at 20 ms, depending on the crowd.
   */
  stagger: 10,
  handovers: 100,
});
const { work } = asked.plan;

function figures({ rounds }: Cell, bare: number) {
  const overtaken = rounds.flatMap((round) => round.overtaken);
  const waits = rounds.map((round) => fairness(round, work));
  const each = waits.flatMap((wait) => wait.each);
  return {
    inOrder: overtaken.filter((ms) => ms <= bare).length / overtaken.length,
    overtaken: Math.max(...overtaken),
    median: median(each),
    worst: Math.max(...each),
    longest: Math.max(...waits.map(({ longest }) => longest)),
  };
}

/** How many times the longest wait by arrival a round's longest may be. */
const wantedLongest = 1.2;

publishRounds(
  {
    title: "The order in which a crowd of waiters is served",
    file,
    note: "In order: hand-overs past nobody who had asked more than a round trip before the one served (whose request comes first is not defined below that), a round trip being what a bare request took through the same server, between the rounds; overtaken: how many ms before, at most. Wait: each one's, over what it would have been in the order of arrival with the round's own median hand-over: the median and the worst of those; longest: a round's longest wait over what the longest would have been, in the worst round. Closer arrivals have no order to keep: a crowd of 100 asks for more than two cores serve, three requests each, and whoever's request the machine happens to take first comes first. With --stagger 2, 77 % to 100 % of serverless-lock's hand-overs were in order at a round trip of 5 ms, and 81 % to 100 % at 20 ms, depending on the crowd.",
    figures,
    columns: [
      ["in order", ({ inOrder }) => `${Math.round(100 * inOrder)} %`],
      ["overtaken ms", ({ overtaken }) => overtaken.toFixed(0)],
      ["wait: median", ({ median }) => median.toFixed(2)],
      ["worst", ({ worst }) => worst.toFixed(2)],
      ["longest", ({ longest }) => longest.toFixed(2)],
    ],
    wanted: () => [
      { what: "longest wait × that by arrival", limit: wantedLongest, of: ({ seen }) => seen.longest },
      { what: "share not served in order of arrival", limit: 0, of: ({ seen }) => 1 - seen.inOrder },
    ],
    plots: [
      {
        file: "fairness.svg",
        title: "The longest wait, over what it would have been by arrival",
        wanted: `wanted: at most ${wantedLongest}, whatever the crowd`,
        limit: () => wantedLongest,
        of: ({ longest }) => longest,
      },
    ],
  },
  asked,
  await playRounds(asked.plan),
);
