import type { Meter } from "serverless-lock/dev";

/** What was used between two looks at the meter. */
export async function costOf<T>(
  meter: () => Meter,
  work: () => Promise<T>,
): Promise<{ result: T; cost: Meter }> {
  const before = meter();
  const result = await work();
  const after = meter();
  const byCommand = Object.entries(after.byCommand)
    .map(([name, count]): [string, number] => [name, count - (before.byCommand[name] ?? 0)])
    .filter(([, count]) => count > 0);
  return {
    result,
    cost: {
      requests: after.requests - before.requests,
      commands: after.commands - before.commands,
      byCommand: Object.fromEntries(byCommand),
    },
  };
}
