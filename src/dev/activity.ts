import type { Command } from "./command.ts";

/** What the server's users send, for `/monitor`. */
export interface Activity {
  tell(commands: Command[]): void;
  /** Hands on each command, until the returned function is called. */
  follow(follower: Follower): () => void;
  close(): void;
}

interface Follower {
  /** A command, as a line of MONITOR. */
  line(text: string): void;
  /** No more lines come. */
  end(): void;
}

export function createActivity(): Activity {
  const followers = new Set<Follower>();
  return {
    tell(commands) {
      if (followers.size === 0) return;
      for (const line of commands.map(lineOf)) {
        for (const follower of followers) follower.line(line);
      }
    },
    follow(follower) {
      followers.add(follower);
      return () => followers.delete(follower);
    },
    close() {
      for (const follower of [...followers]) follower.end();
    },
  };
}

/** As Redis writes it, with the address that Upstash shows for every client. */
function lineOf(command: Command): string {
  // Redis tells microseconds. They also tell commands of one millisecond apart.
  const [seconds, micros] = [Date.now() / 1000, (performance.now() * 1000) % 1000];
  const time = `${Math.floor(seconds)}.${pad((Date.now() % 1000) * 1000 + Math.floor(micros))}`;
  return `${time} [0 0.0.0.0:0] ${command.map(quoted).join(" ")}`;
}

const pad = (micros: number) => `${micros}`.padStart(6, "0");

const ESCAPES: Record<string, string> = {
  "\\": "\\\\",
  '"': '\\"',
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\u0007": "\\a",
  "\b": "\\b",
};

function quoted(argument: Command[number]): string {
  const bytes = Buffer.from(argument as string).toString("latin1");
  const text = bytes.replace(
    /[^ !#-[\]-~]/g,
    (char) => ESCAPES[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${text}"`;
}
