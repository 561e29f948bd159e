import { readPlan } from "./lib/round-options.ts";
import { publishRounds } from "./lib/round-report.ts";
import { type Cell, playRounds } from "./lib/rounds.ts";
import { median, quantile } from "./lib/stats.ts";

const file = "bench/handover.ts";
const asked = readPlan({
  file,
  about: "How long it takes to hand a lock over to the next of a crowd, and what that costs.",
  /** All at once: apart, those who poll at a fixed interval would spread over it by themselves. */
  stagger: 0,
  handovers: 200,
});
const { work } = asked.plan;

const wantedRequests = 4.3;
const wantedCommands = 13;
const requestsOf = ({ seen }: { seen: { requests: number } }) => seen.requests;
const commandsOf = ({ seen }: { seen: { commands: number } }) => seen.commands;

/** In round trips. At a short one what the machines do themselves weighs more. */
function wantedMedian(rtt: number): number {
  return rtt <= 5 ? 1.2 : 1.05;
}

function figures({ rounds, crowd }: Cell, bare: number) {
  const handovers = rounds.flatMap((round) => round.handovers);
  const sum = (of: (round: Cell["rounds"][number]) => number) =>
    rounds.reduce((total, round) => total + of(round), 0);
  const total = median(rounds.map((round) => round.total));
  return {
    median: median(handovers),
    p99: quantile(handovers, 0.99),
    medianTrips: median(handovers) / bare,
    p99Trips: quantile(handovers, 0.99) / bare,
    requests: sum((round) => round.requests) / (rounds.length * (crowd + 1)),
    commands: sum((round) => round.commands) / (rounds.length * (crowd + 1)),
    total,
    floor: total / (crowd * (bare + work)),
  };
}

publishRounds(
  {
    title: "Handing a lock over to a crowd of waiters",
    file,
    note: "A hand-over lasts from the holder's call for the release to the start of the next one's work. RT: in round trips, one being what a bare request took through the same server, between the rounds. Requests and billed commands: per acquisition, the first holder's included. Total: from the first release to the last; × least: over what it is at least, a round trip and the work for each, since a release has to reach the server and the word of it the next holder. The order of service is the subject of bench/fairness.ts.",
    figures,
    columns: [
      ["median ms", ({ median }) => median.toFixed(1)],
      ["p99 ms", ({ p99 }) => p99.toFixed(1)],
      ["median RT", ({ medianTrips }) => medianTrips.toFixed(2)],
      ["p99 RT", ({ p99Trips }) => p99Trips.toFixed(2)],
      ["requests", ({ requests }) => requests.toFixed(2)],
      ["billed commands", ({ commands }) => commands.toFixed(1)],
      ["total s", ({ total }) => (total / 1_000).toFixed(2)],
      ["× least", ({ floor }) => floor.toFixed(2)],
    ],
    wanted([{ rtt }]) {
      return [
        {
          what: "median hand-over in round trips",
          limit: wantedMedian(rtt),
          of: ({ seen }) => seen.medianTrips,
        },
        { what: "p99 hand-over in round trips", limit: 3, of: ({ seen }) => seen.p99Trips },
        { what: "total time × least", limit: 1.2, crowd: 20, of: ({ seen }) => seen.floor },
        // At other round trips more or fewer requests fall into a wait.
        ...(rtt === 20
          ? [
              { what: "requests per acquisition", limit: wantedRequests, of: requestsOf },
              { what: "billed commands per acquisition", limit: wantedCommands, of: commandsOf },
            ]
          : []),
      ];
    },
    plots: [
      {
        file: "handover.svg",
        title: "Hand-over of a lock, median in ms",
        wanted: "wanted: at most 1.05 round trips (1.2 at 5 ms), whatever the crowd",
        limit: (bare, rtt) => wantedMedian(rtt) * bare,
        of: ({ median }) => median,
      },
      {
        file: "handover-requests.svg",
        title: "Requests per acquisition",
        wanted: `wanted at 20 ms: at most ${wantedRequests}, whatever the crowd`,
        limit: () => wantedRequests,
        of: ({ requests }) => requests,
      },
      {
        file: "handover-commands.svg",
        title: "Billed commands per acquisition",
        wanted: `wanted at 20 ms: at most ${wantedCommands}, whatever the crowd`,
        limit: () => wantedCommands,
        of: ({ commands }) => commands,
      },
    ],
  },
  asked,
  await playRounds(asked.plan),
);
