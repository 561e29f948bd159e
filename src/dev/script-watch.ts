import type { Redis } from "ioredis";
import type { Command } from "./command.ts";
import { EXTENSION_MARK } from "./conditional-commands.ts";
import type { Monitor, MonitorLine } from "./monitor.ts";

/**
 * Tells which commands scripts called. Upstash bills them, and no reply mentions them; rewriting the scripts so that
 * they count for themselves would change their errors and their SHA. MONITOR shows a script's calls right after the
 * script itself, in order, and changes nothing.
 *
 * What Redis refuses before it runs it (an unknown command, a wrong number of arguments) is not shown.
 */
export interface ScriptWatch {
  /**
   * Sends a mark after what was sent before on the main connection, and resolves to the names of the commands that
   * its scripts called since the last mark. Empty while MONITOR cannot be had.
   */
  calls(): Promise<string[]>;
  close(): void;
}

const RUNS_A_SCRIPT = new Set(["EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"]);

export function runsScript(command: Command): boolean {
  return RUNS_A_SCRIPT.has(command[0].toUpperCase());
}

/**
 * @param main the connection whose scripts are watched.
 * @param id what no other client's PING says.
 */
export function watchScripts(main: Redis, monitor: Monitor, id: string): ScriptWatch {
  let marks = 0;
  const waiting = new Map<string, (calls: string[]) => void>();
  // Where Redis sees the main connection come from: that of the first mark. Others' scripts are not ours to count.
  let own = "";
  let calls: string[] = [];
  let counting = false;
  // While a stand-in works in a script: what it calls is billed as the one command that it stands for.
  let standingIn = false;

  function mark(): Promise<string[]> {
    if (!monitor.running() || main.status !== "ready") return Promise.resolve([]);
    return new Promise((resolve) => {
      const name = `${id}:${++marks}`;
      waiting.set(name, resolve);
      // An error here means a lost connection, and then the monitor's line may never come.
      main.ping(name).catch(() => settle(name));
    });
  }

  function settle(name: string): void {
    waiting.get(name)?.(calls);
    if (waiting.delete(name)) calls = [];
  }

  function line({ source, name, first }: MonitorLine): void {
    if (source === "lua") {
      if (!counting) return;
      if (first.startsWith(EXTENSION_MARK)) {
        const [standsFor] = first.slice(EXTENSION_MARK.length).trim().split(" ");
        standingIn = standsFor !== "";
        if (standsFor) calls.push(standsFor);
      } else if (!standingIn) calls.push(name);
      return;
    }
    standingIn = false;
    counting = source === own && RUNS_A_SCRIPT.has(name.toUpperCase()) && !first.startsWith(EXTENSION_MARK);
    if (waiting.has(first)) {
      own = source;
      settle(first);
    }
  }
  monitor.onLine(line);
  monitor.onStop(() => {
    for (const name of [...waiting.keys()]) settle(name);
  });
  // A new connection comes from elsewhere: learn it before a script is run.
  const learn = () => void mark();
  main.on("ready", learn);
  monitor.onRestart(learn);
  learn();

  return { calls: mark, close: monitor.close };
}
