// Checks the model of the protocol: node test/model/run.ts --help
import { parseArgs } from "node:util";
import {
  type Configuration,
  checkModel,
  configurations,
  describeConfiguration,
  describeResult,
  type Kind,
  kinds,
  longConfigurations,
  type MutationName,
  missing,
  mutations,
} from "./spin.ts";

const usage = `Lets Spin look at every state of a model of the protocol. Needs spin and gcc.

  npm run model                         what the tests check
  npm run model -- --long               more, for some minutes
  npm run model -- --clients 2 --rounds 2 --faults 1 [--kind readers] [--slow] [--live]
  npm run model -- --broken "no tickets"

  --clients  how many
  --rounds   how often each takes the lock
  --faults   how many faults may happen in all
  --kind     readers: the first asks for an exclusive lock, the others share it; permits: the first asks for both of
             two permits, the others for one; by default all ask for an exclusive lock
  --slow     requests take as long as they like
  --live     the rounds never end, and a waiter that does not leave has to be served
  --broken   with a safeguard taken out, and how that goes wrong, step by step:
             ${Object.keys(mutations).join("\n             ")}

Exits with 0 when nothing was wrong, 1 when something was, which is printed, 2 when it could not be run.`;

const options = {
  clients: { type: "string" },
  rounds: { type: "string" },
  faults: { type: "string" },
  kind: { type: "string" },
  slow: { type: "boolean", default: false },
  live: { type: "boolean", default: false },
  long: { type: "boolean", default: false },
  broken: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

try {
  const { values } = parseArgs({ options });
  if (values.help) console.log(usage);
  else await main(values);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];

async function main(values: Values): Promise<void> {
  const { broken } = values;
  if (broken !== undefined && !Object.hasOwn(mutations, broken))
    throw new TypeError(`--broken ${broken}: one of ${Object.keys(mutations).join(", ")} is wanted`);
  const asked = readConfigurations(values, broken as MutationName | undefined);
  if (missing) throw new Error(missing);
  for (const configuration of asked) {
    const result = await checkModel(configuration, broken as MutationName | undefined);
    console.log(`${describeConfiguration(configuration)}: ${describeResult(result)}`);
    if (!result.finding) continue;
    console.log(result.trail);
    process.exitCode = 1;
  }
}

function readConfigurations(values: Values, broken: MutationName | undefined): Configuration[] {
  const custom = [values.clients, values.rounds, values.faults, values.kind].some(
    (each) => each !== undefined,
  );
  if (!custom && !values.slow && !values.live) {
    if (broken) return [mutations[broken].configuration];
    return values.long ? [...configurations, ...longConfigurations] : configurations;
  }
  const count = (name: "clients" | "rounds" | "faults", [least, most]: [number, number]) => {
    const number = Number(values[name] ?? 1);
    if (Number.isInteger(number) && number >= least && number <= most) return number;
    throw new TypeError(`--${name} ${values[name]}: a number from ${least} to ${most} is wanted`);
  };
  const { kind, slow, live } = values;
  if (kind !== undefined && !kinds.includes(kind as Kind))
    throw new TypeError(`--kind ${kind}: one of ${kinds.join(", ")} is wanted`);
  if (slow && live) throw new TypeError("--slow and --live do not go together");
  return [
    {
      clients: count("clients", [2, 3]),
      rounds: live ? 1 : count("rounds", [1, 2]),
      faults: count("faults", [0, 9]),
      kind: kind as Kind | undefined,
      slowRequests: slow,
      live,
    },
  ];
}
