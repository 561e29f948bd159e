// The commands that look at locks and steer them. `dev` stands in cli.ts.
import { Command, CommanderError, Option } from "commander";
import { printable } from "../errors.ts";
import { LockOptionError, LockUnavailableError } from "../index.ts";
import { type Add, WrongUse } from "./command.ts";
import { addInspect } from "./inspect.ts";
import { addLimit } from "./limit.ts";
import { addList } from "./list.ts";
import { errorText, print } from "./output.ts";
import { addPage } from "./page.ts";
import { addPause } from "./pause.ts";
import { addRelease } from "./release.ts";
import { addWatch } from "./watch.ts";

/** Each adds its command. */
const commands = { list: addList, inspect: addInspect, watch: addWatch, release: addRelease };
const more = { limit: addLimit, pause: addPause("pause"), unpause: addPause("unpause"), page: addPage };
const all: Record<string, (add: Add) => void> = { ...commands, ...more };

export const operatorCommands: readonly string[] = Object.keys(all);

/** Runs one of the commands. Its result is the process' exit code. */
export async function operate(args: string[]): Promise<void> {
  const program = new Command("serverless-lock").exitOverride().configureOutput({ writeErr: () => {} });
  program.helpCommand(false);
  const add: Add = (name, description) =>
    program
      .command(name)
      .description(description)
      .exitOverride()
      .configureOutput({ writeOut: print, writeErr: () => {} })
      .addOption(new Option("--url <url>", "of Upstash's REST API").env("UPSTASH_REDIS_REST_URL"))
      .addOption(
        new Option("--token <token>", "of it; a command line can be read by every user of the machine").env(
          "UPSTASH_REDIS_REST_TOKEN",
        ),
      )
      .option("--prefix <prefix>", "in front of every key in Redis", "lock:")
      .option("--env-file <file>", "read variables from a file, such as .env")
      .option("--json", "print JSON, for programs")
      .showHelpAfterError(false);
  for (const addCommand of Object.values(all)) addCommand(add);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = codeOf(error);
    const message = messageOf(error, args[0]);
    const lines = message.split("\n").map(printable);
    if (message) process.stderr.write(`serverless-lock: ${lines.join("\n")}\n`);
  }
}

function codeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof LockUnavailableError) return 3;
  return error instanceof LockOptionError || error instanceof WrongUse ? 2 : 1;
}

function messageOf(error: unknown, command: string | undefined): string {
  if (error instanceof CommanderError)
    return error.exitCode === 0 ? "" : `${error.message.replace(/^error: /, "")}\n${advice(error, command)}`;
  return errorText(error as Error);
}

function advice({ code }: CommanderError, command: string | undefined): string {
  const dash = code === "commander.unknownOption" ? '. A key that begins with "-" goes behind "--"' : "";
  return `See serverless-lock ${command} --help${dash}`;
}
