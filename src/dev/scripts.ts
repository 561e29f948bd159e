import { createHash } from "node:crypto";
import type { Command } from "./command.ts";
import { type Extensions, type Prepared, plain } from "./extensions.ts";
import type { RedisValue, Reply } from "./reply.ts";

/** How a text is changed for the engine, and back. */
export interface Rewrite {
  /** @param args what the script is run with: keys and arguments. */
  script(text: string, args: Command[number][]): string;
  library(text: string): string;
  /** A library's text as its author knows it. */
  undo(text: string): string;
  /** Whether the script says of itself that it does not write, in a way that the engine does not know. */
  onlyReads?(text: string): boolean;
}

/**
 * Hands scripts and libraries to the engine in another text, and keeps up the appearance that they went through as they
 * were: the same SHA, the same line numbers, the same code in FUNCTION LIST.
 */
export function rewriteScripts({ script, library, undo, onlyReads = () => false }: Rewrite): Extensions {
  // The SHA of a script as its author knows it, and as the engine knows it. Only changed scripts are in here.
  const engineSha = new Map<string, string>();
  const authorSha = new Map<string, string>();
  // The SHA, as their authors know it, of scripts that only read.
  const readers = new Set<string>();
  // Every script by its author's SHA: what it is run with may ask for another text.
  const texts = new Map<string, string>();

  function changed(text: string, args: Command[number][]): string {
    const engineText = script(text, args);
    const sha = sha1(text);
    texts.set(sha, text);
    if (onlyReads(text)) readers.add(sha);
    if (engineText === text) engineSha.delete(sha);
    else {
      engineSha.set(sha, sha1(engineText));
      authorSha.set(sha1(engineText), sha);
    }
    return engineText;
  }
  const shaForEngine = (sha: string) => engineSha.get(sha.toLowerCase()) ?? sha;

  return (command) => {
    const [verb, first = "", ...rest] = command;
    const name = verb.toUpperCase();
    const text = first.toString();
    const subcommand = text.toUpperCase();
    const code = rest.at(-1)?.toString() ?? "";
    if (name === "EVAL" || name === "EVAL_RO") {
      const run = onlyReads(text) ? "EVAL_RO" : verb;
      return first === "" ? plain(command) : withAuthorSha([run, changed(text, rest), ...rest]);
    }
    if (name === "EVALSHA" || name === "EVALSHA_RO") {
      const run = readers.has(text.toLowerCase()) ? "EVALSHA_RO" : name;
      const known = texts.get(text.toLowerCase());
      const other = known !== undefined && script(known, rest) !== script(known, []);
      return other
        ? withAuthorSha([run.replace("SHA", ""), changed(known, rest), ...rest])
        : withAuthorSha([run, shaForEngine(text), ...rest]);
    }
    if (name === "SCRIPT" && subcommand === "FLUSH") texts.clear();
    if (name === "SCRIPT" && subcommand === "LOAD" && rest.length === 1) {
      return { ...plain([verb, first, changed(code, [])]), answer: answerOfLoad };
    }
    if (name === "SCRIPT" && subcommand === "EXISTS") {
      return plain([verb, first, ...rest.map((sha) => shaForEngine(sha.toString()))]);
    }
    if (name === "FUNCTION" && subcommand === "LOAD" && rest.length > 0) {
      return plain([verb, first, ...rest.slice(0, -1), library(code)]);
    }
    if (name === "FUNCTION" && subcommand === "LIST") {
      return { ...plain(command), answer: (reply) => mapped(reply, undo) };
    }
    return plain(command);
  };

  /** Sends the command. The author's SHA takes the place of the engine's in an error. */
  function withAuthorSha(send: Command): Prepared {
    return {
      send,
      answer: (reply) =>
        "error" in reply
          ? { error: reply.error.replace(/\b[0-9a-f]{40}\b/, (sha) => authorSha.get(sha) ?? sha) }
          : reply,
    };
  }

  function answerOfLoad(reply: Reply): Reply {
    return mapped(reply, (sha) => authorSha.get(sha) ?? sha);
  }
}

/** The reply with each of its strings changed. */
function mapped(reply: Reply, change: (text: string) => string): Reply {
  const map = (value: RedisValue): RedisValue => {
    if (Array.isArray(value)) return value.map(map);
    if (!Buffer.isBuffer(value)) return value;
    const text = value.toString();
    const other = change(text);
    return other === text ? value : Buffer.from(other);
  };
  return "error" in reply ? reply : { result: map(reply.result) };
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
