import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { decode, encode } from "./embedded-data.ts";
import type { EmbeddedEngine } from "./optional-packages.ts";

type State = InstanceType<EmbeddedEngine["RedisServerState"]>;
type Database = State["databases"][number];
type Entry = ReturnType<Database["entriesSnapshot"]>[number];

/** What the file holds. A server reads only its own version. */
interface Kept {
  version: 1;
  entries: Entry[];
  /** The functions' libraries, as FUNCTION DUMP gives them. */
  functions: Buffer;
}

/** Ms from a change to the file: what a process that is killed may lose. */
const DELAY = 500;

/**
 * Puts into the engine what the file holds, and writes into it what changes.
 *
 * @throws an Error naming the file, when it is there and cannot be read.
 */
export function keepInFile(state: State, file: string): { close(): void } {
  const [database] = state.databases as [Database];
  load(state, database, file);
  let timer: NodeJS.Timeout | undefined;
  let written = state.functionRegistry.dump();

  function write(): void {
    timer = undefined;
    written = state.functionRegistry.dump();
    const kept: Kept = { version: 1, entries: database.entriesSnapshot(), functions: written };
    // Whoever reads it sees one whole state.
    writeFileSync(`${file}.tmp`, encode(kept), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  }

  // Now, so that a file that cannot be written is found at the start.
  write();
  const unsubscribe = database.subscribe(() => {
    timer ??= setTimeout(write, DELAY).unref();
  });
  return {
    close() {
      unsubscribe();
      clearTimeout(timer);
      // A library that was loaded is no change that the engine tells of.
      if (timer || !written.equals(state.functionRegistry.dump())) write();
    },
  };
}

function load(state: State, database: Database, file: string): void {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new Error(`The file ${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const kept = parse(text);
  if (kept?.version !== 1)
    throw new Error(`The file ${file} was not written by this version of the dev server`);
  for (const { key, value, expiresAt } of kept.entries) {
    if (expiresAt === undefined) database.set(key, value);
    else if (expiresAt > Date.now()) database.set(key, value, { expiresAt });
  }
  state.functionRegistry.restore(kept.functions, "flush");
}

function parse(text: string): Kept | undefined {
  try {
    return decode(text) as Kept;
  } catch {
    return undefined;
  }
}
