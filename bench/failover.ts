// Whether a lock that was acknowledged survives the loss of the primary. After `npm run build`.
import { type Step, startPair } from "./lib/failover.ts";
import {
  commandLine,
  madeWith,
  progress,
  publish,
  readArgs,
  reportHelp,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";

const help = `Usage: node bench/failover.ts [options]

Takes a lock through the dev server in front of a Redis with a replica, kills the primary as soon as that is answered,
promotes the replica, and looks for the lock there. Needs redis-server.

Options:
  --rounds <n>      Failovers of each kind (default: 200)
  --lag <ms>        Round trip between primary and replica (default: 20)
${reportHelp}`;

const args = readArgs(help, {
  rounds: { type: "string", default: "200" },
  lag: { type: "string", default: "20" },
});
const rounds = wholeNumber("rounds", args.rounds, 1);
const lag = wholeNumber("lag", args.lag, 0);

const kinds: { step: Step; replicas: number }[] = [
  { step: "taken", replicas: 1 },
  { step: "handed over", replicas: 1 },
  { step: "renewed", replicas: 1 },
  { step: "taken", replicas: 0 },
  { step: "handed over", replicas: 0 },
  { step: "renewed", replicas: 0 },
];

async function play({ step, replicas }: (typeof kinds)[number]) {
  const pair = await startPair(lag);
  let lost = 0;
  for (let round = 0; round < rounds; round++) {
    progress(`${step}, replicas: ${replicas}: failover ${round + 1} of ${rounds}, ${lost} lost`);
    const client = round % 2 === 0 ? "built-in" : "@upstash/redis";
    if (!(await pair.failOver(step, replicas, client))) lost++;
  }
  await pair.close();
  return { step, replicas, lost };
}

const seen: Awaited<ReturnType<typeof play>>[] = [];
for (const kind of kinds) seen.push(await play(kind));
progress("");

const verdicts = seen
  .filter(({ replicas }) => replicas > 0)
  .map(({ step, replicas, lost }): Verdict => {
    const what = `locks ${step} with replicas: ${replicas}, lost in ${rounds} failovers`;
    return { what, wanted: "0", seen: `${lost}`, pass: lost === 0, exact: true };
  });

publish(
  {
    title: "Locks that survive a failover",
    command: commandLine("bench/failover.ts"),
    date: today(),
    made: madeWith("serverless-lock", "@upstash/redis"),
    note: `The replica follows its primary over a link whose round trip is ${lag} ms. The primary is killed by SIGKILL as soon as the
answer has arrived. What is still in the link then is lost with it, as with a machine that loses power or is cut off. The
replica is promoted and asked. A lock counts as lost if it is not there, or ends there before its holder stops relying on it.
Every other failover is one of a lock taken through \`@upstash/redis\`.`,
    sections: [
      {
        title: `${rounds} failovers of each kind`,
        table: [
          ["what was answered", "`replicas`", "locks lost"],
          ...seen.map(({ step, replicas, lost }) => [step, `${replicas}`, `${lost} of ${rounds}`]),
        ],
      },
    ],
    verdicts,
  },
  args,
);
