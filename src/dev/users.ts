import { hash, timingSafeEqual } from "node:crypto";
import { type Extensions, plain } from "./extensions.ts";

/** Who sends a request, by the names that Upstash gives the owners of its two tokens. */
export interface User {
  name: "default" | "default_ro";
  /** May read and nothing else. */
  readOnly: boolean;
}

export interface Users {
  /** Whose token it is that came as `Authorization: Bearer …`, or else as `?_token=…`. */
  find(header: string | undefined, query: string | undefined): User | undefined;
  /** `ACL RESTTOKEN user password`. A user's password is its token. */
  restToken: Extensions;
}

/** Tokens are compared in a time that tells nothing about them: hashed first, so that not even the length shows. */
export function createUsers(tokens: { token: string; readOnlyToken: string }): Users {
  const users: { user: User; token: string; expected: Buffer }[] = [
    { name: "default" as const, readOnly: false, token: tokens.token },
    { name: "default_ro" as const, readOnly: true, token: tokens.readOnlyToken },
  ].map(({ token, ...user }) => ({ user, token, expected: digest(token) }));

  /** Right tokens that came before. A map finds by the whole text's hash: its time tells nothing of a near guess. */
  const known = new Map<string, (typeof users)[number]>();

  function owner(token: string): (typeof users)[number] | undefined {
    const before = known.get(token);
    if (before) return before;
    const given = digest(token);
    // Each is compared, whichever it is.
    const [found] = users.filter(({ expected }) => timingSafeEqual(given, expected));
    if (found) known.set(token, found);
    return found;
  }

  return {
    find(header, query) {
      const given = header === undefined ? query : /^Bearer +(.*)$/i.exec(header)?.[1];
      return owner(given ?? "")?.user;
    },
    restToken: (command) => {
      const [name, subcommand, user, password, ...more] = command;
      if (name.toUpperCase() !== "ACL" || subcommand?.toString().toUpperCase() !== "RESTTOKEN") {
        return plain(command);
      }
      if (user === undefined || password === undefined || more.length > 0) {
        return plain({ error: "ERR wrong number of arguments for 'acl|resttoken' command" });
      }
      const found = owner(password.toString());
      if (found?.user.name === user.toString()) return plain({ result: Buffer.from(found.token) });
      // The words of https://upstash.com/docs/redis/features/restapi.
      return plain({ error: `ERR Wrong password or user "${user}" does not exist` });
    },
  };
}

function digest(text: string): Buffer {
  return hash("sha256", text, "buffer");
}
