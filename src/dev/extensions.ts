import type { Command } from "./command.ts";
import { answeredTwice, conditionalCommand } from "./conditional-commands.ts";
import type { Reply } from "./reply.ts";

/** Sends one more command, as it is, and answers what the engine says. */
export type Ask = (command: Command) => Promise<Reply>;

/** A command as the engine gets it. */
export interface Prepared {
  /** The command to send, or the answer that needs no engine. */
  send: Command | Reply;
  /** Turns the engine's reply into the one that the sent command's author expects. */
  answer(reply: Reply, ask: Ask): Reply | Promise<Reply>;
}

export type Extensions = (command: Command) => Prepared;

/** The command goes through the first, what comes of it through the second, and the reply all the way back. */
export function inTurn(first: Extensions, second: Extensions): Extensions {
  return (command) => {
    const outer = first(command);
    if (isAnswer(outer.send)) return outer;
    const inner = second(outer.send);
    // Most change nothing: what would wait for nothing takes its time all the same.
    if (outer.answer === unchanged) return inner;
    if (inner.answer === unchanged) return { send: inner.send, answer: outer.answer };
    return {
      send: inner.send,
      answer: async (reply, ask) => outer.answer(await inner.answer(reply, ask), ask),
    };
  };
}

export function isAnswer(send: Prepared["send"]): send is Reply {
  return !Array.isArray(send);
}

/** Sends this, and hands on the reply as it is. */
export function plain(send: Prepared["send"]): Prepared {
  return { send, answer: unchanged };
}

const unchanged = (reply: Reply) => reply;

/** Hands on everything as it is. */
export const noExtensions: Extensions = (command) => plain(command);

/** Makes up for the commands on a condition. */
export const conditionalCommands: Extensions = (command) => plain(conditionalCommand(command) ?? command);

/** Makes up for those that an engine with conditions of its own answers twice. */
export const singleAnswers: Extensions = (command) => plain(answeredTwice(command) ?? command);
