import type { Command } from "commander";

/** Makes a command with the options that all have. */
export type Add = (nameAndArguments: string, description: string) => Command;

/** The options that every command has. */
export interface Common {
  url?: string;
  token?: string;
  prefix: string;
  envFile?: string;
  json?: boolean;
}

/** Ends a command: it was used in a wrong way. */
export class WrongUse extends Error {}
