import { parseArgs } from "node:util";
import { startDevServer } from "serverless-lock/dev";
import { type ExampleName, examples, startExample } from "./demo/example.ts";

const names = Object.keys(examples) as ExampleName[];

const HELP = `Usage: npm run example -- <name>

Starts Upstash's REST API on an embedded Redis, and one of the example functions in its own runtime, on port 3000 or a
free one. Ctrl-C ends it.

Names:
${names.map((name) => `  ${name.padEnd(8)} ${examples[name]}`).join("\n")}

The last three need: npm ci --prefix test/runtimes/guest

Options:
  --help   Show this
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { help: { type: "boolean" } },
    allowPositionals: true,
  });
  const [name] = positionals as (ExampleName | undefined)[];
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (!name || !names.includes(name) || positionals.length > 1) {
    const given = positionals.join(" ") || "nothing";
    process.stderr.write(`npm run example: got ${given}, expected one of ${names.join(", ")}\n`);
    return 2;
  }
  await using cleanup = new AsyncDisposableStack();
  const redis = await startDevServer();
  cleanup.defer(() => redis.close());
  const example = await startExample(name, redis, 3000, (text) => process.stdout.write(text));
  cleanup.defer(() => example.close());
  process.stdout.write(`${examples[name]}

The same order twice at once: one is charged, the other gets a 423.

  curl -i -X POST ${example.url}/orders/42/charge & curl -i -X POST ${example.url}/orders/42/charge; wait

Ctrl-C ends it.
`);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`npm run example: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
