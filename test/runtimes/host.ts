import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What runs in the runtimes, and the runtimes: a package of its own. */
export const guest = join(import.meta.dirname, "guest");

/** A server in a process of its own. */
export interface Host {
  /** Where it listens. */
  url: string;
  stop(): Promise<void>;
}

/** Runs a command to its end. @throws with what it printed, when it fails */
export async function runToEnd(command: readonly string[], env: Record<string, string> = {}): Promise<void> {
  const { child, printed } = launch(command, env);
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}:\n${printed()}`);
}

/** Starts a server, and resolves once it has printed its URL. @throws with what it printed, when it ends before */
export async function startHost(command: readonly string[], env: Record<string, string>): Promise<Host> {
  const { child, printed } = launch(command, env);
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
      if (found) resolve(found);
    });
    child.once("close", () => reject(new Error(`it ended before it listened:\n${printed()}`)));
    child.once("error", reject);
  });
  const stop = async () => {
    if (child.exitCode === null) {
      signalAll(child, "SIGTERM");
      await once(child, "exit");
    }
    // What it started may outlive it.
    signalAll(child, "SIGKILL");
  };
  return { url, stop };
}

function launch(command: readonly string[], env: Record<string, string>) {
  const [file = "", ...args] = command;
  // A group of its own, so that what it starts ends with it.
  const child = spawn(file, args, {
    cwd: guest,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (printed += chunk));
  const killWithParent = () => signalAll(child, "SIGKILL");
  process.once("exit", killWithParent);
  child.once("exit", () => process.off("exit", killWithParent));
  return { child, printed: () => printed };
}

function signalAll({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid) process.kill(-pid, signal);
  } catch {
    // None of them is left.
  }
}
