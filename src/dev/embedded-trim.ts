/** What the arguments of XADD or XTRIM say of trimming. */
export interface Trim {
  /** What happens to the references of groups, where it is not left as it is. */
  mode: "DELREF" | "ACKED" | undefined;
  /** Undefined: nothing is trimmed. */
  by: "MAXLEN" | "MINID" | undefined;
  threshold: Buffer | undefined;
  /** How many entries go at most. Undefined: no limit. */
  limit: Buffer | undefined;
  approximate: boolean;
  /** The arguments as the embedded engine takes them: without a mode, and without the sign that changes nothing. */
  plain: Buffer[];
  /** The arguments without all that concerns trimming. */
  untrimmed: Buffer[];
}

/** @param args the key, options in any order, and for XADD the entry. */
export function readTrim(args: readonly Buffer[]): Trim {
  const word = (at: number) => `${args[at] ?? ""}`.toUpperCase();
  const trim: Omit<Trim, "plain" | "untrimmed"> = {
    ...{ mode: undefined, by: undefined, threshold: undefined, limit: undefined, approximate: false },
  };
  const removed = new Set<number>();
  const ofTrim = new Set<number>();
  let at = 1;
  for (; at < args.length; at++) {
    const option = word(at);
    if (option === "KEEPREF" || option === "DELREF" || option === "ACKED") {
      trim.mode = option === "KEEPREF" ? undefined : option;
      removed.add(at);
    } else if (option === "MAXLEN" || option === "MINID") {
      trim.by = option;
      const sign = word(at + 1);
      const signed = sign === "=" || sign === "~";
      trim.approximate = sign === "~";
      if (sign === "=") removed.add(at + 1);
      const last = at + (signed ? 2 : 1);
      trim.threshold = args[last];
      for (; at < last; at++) ofTrim.add(at);
      ofTrim.add(at);
    } else if (option === "LIMIT") {
      trim.limit = args[at + 1];
      ofTrim.add(at).add(at + 1);
      at++;
    } else if (option !== "NOMKSTREAM") break;
  }
  const plain = args.filter((_, i) => !removed.has(i));
  return { ...trim, plain, untrimmed: args.filter((_, i) => !removed.has(i) && !ofTrim.has(i)) };
}
