/** Whether a pattern in the manner of Redis covers a name: `*`, `?`, `[abc]`, `[^a-z]`, and `\` in front of what stands for itself. */
export function globMatches(pattern: string, name: string): boolean {
  const source = pattern.replace(
    /\\(?<escaped>.)|\[(?<not>\^?)(?<set>(?:\\.|[^\]])*)\]?|(?<any>\*+)|(?<one>\?)|./gs,
    (char, ...rest) => {
      const { escaped, not, set, any, one } = rest.at(-1) as Record<string, string | undefined>;
      if (any) return ".*";
      if (one) return ".";
      if (set !== undefined) return set === "" ? (not ? "." : "(?!)") : `[${not}${inSet(set)}]`;
      return literal(escaped ?? char);
    },
  );
  return new RegExp(`^${source}$`, "s").test(name);
}

const literal = (char: string) => char.replace(/[\\^$.*+?()|{}[\]/-]/, "\\$&");

/** Ranges stay; everything else stands for itself. A range may be given from its end. */
function inSet(set: string): string {
  const items = set.match(/\\.-\\.|\\.|[^\\]-[^\\]|./gs) ?? [];
  return items
    .map((item) => {
      const [, from, to] = /^(.)-(.)$/s.exec(item) ?? [];
      if (from === undefined || to === undefined) return literal(item.replace(/^\\(?=.)/s, ""));
      const [low, high] = from <= to ? [from, to] : [to, from];
      return `${literal(low)}-${literal(high)}`;
    })
    .join("");
}
