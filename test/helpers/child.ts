import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Child {
  process: ChildProcess;
  /** The next line it prints that starts with `word`; rejects when it ends before. */
  line(word: string): Promise<string>;
  send(text: string): void;
  /** Resolves to the exit status. */
  ended: Promise<number | null>;
}

/** Runs a script of this folder in a process of its own, and reads what it prints, line by line. */
export function runChild(script: string, args: string[], env: Record<string, string> = {}): Child {
  const child = spawn(process.execPath, [new URL(script, import.meta.url).pathname, ...args], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines: string[] = [];
  let wake = () => {};
  let open = true;
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => {
    lines.push(line);
    wake();
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  reader.on("close", () => {
    open = false;
    wake();
  });
  return {
    process: child,
    ended,
    send: (text) => void child.stdin.write(`${text}\n`),
    async line(word) {
      for (;;) {
        const index = lines.findIndex((line) => line.startsWith(word));
        if (index >= 0) return lines.splice(0, index + 1).at(-1) as string;
        if (!open) throw new Error(`the process ended before it said "${word}"`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}
