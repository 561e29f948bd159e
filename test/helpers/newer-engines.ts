import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where `npm run engines` unpacks newer engines, each in a folder by its name and version. */
export const enginesFolder = fileURLToPath(new URL("../../.engines/", import.meta.url));

export interface NewerEngine {
  /** Such as `redis 8.6.3`. */
  name: string;
  /** Starts it, with the arguments of `redis-server`. */
  command: string;
}

/** Those to run suites on: all that were unpacked, if `npm run engines` runs the suites, else none. */
export const newerEngines: NewerEngine[] = process.env.NEWER_ENGINES ? unpacked() : [];

export function unpacked(): NewerEngine[] {
  try {
    return (
      readdirSync(enginesFolder)
        // What begins with a dot or ends in ".new" is being made, or was left when that broke off.
        .filter((name) => /^\w+-[\d.]+$/.test(name))
        .map((name) => ({ name: name.replace("-", " "), command: `${enginesFolder}${name}/server` }))
    );
  } catch {
    return [];
  }
}
