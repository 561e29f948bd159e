import { type Extensions, plain } from "./extensions.ts";
import { globMatches } from "./glob.ts";

/** The only parameter that Upstash knows (https://upstash.com/docs/redis/howto/keyspacenotifications). */
const PARAMETER = "notify-keyspace-events";

/**
 * CONFIG as far as Upstash has it. Whatever the engine would tell or change beyond that stays with the engine: its
 * password is a parameter too. The words for another parameter are those of Redis: Upstash documents none.
 */
export const configCommand: Extensions = (command) => {
  const [name, first, ...args] = command;
  const subcommand = first?.toString().toUpperCase();
  if (name.toUpperCase() !== "CONFIG" || args.length === 0) return plain(command);
  const given = args.map((arg) => arg.toString().toLowerCase());
  if (subcommand === "GET") {
    return plain(
      given.some((pattern) => globMatches(pattern, PARAMETER)) ? [name, "GET", PARAMETER] : { result: [] },
    );
  }
  if (args.length % 2 === 1)
    return plain({ error: "ERR wrong number of arguments for 'config|set' command" });
  const other = args.find((_, i) => i % 2 === 0 && given[i] !== PARAMETER);
  if (other === undefined) return plain(command);
  return plain({ error: `ERR Unknown option or number of arguments for CONFIG SET - '${other}'` });
};
