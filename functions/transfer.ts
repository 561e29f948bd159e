import { lockHandler } from "serverless-lock/lambda";

interface Transfer {
  from: string;
  to: string;
  amount: number;
}

/**
 * Moves money between two accounts that no transaction covers. Both are locked, or neither. Transfers to and fro cannot
 * wait for each other: several keys are queued for in the order of their names.
 */
export const handler = lockHandler(
  { key: ({ from, to }: Transfer) => [`account:${from}`, `account:${to}`], wait: "20s" },
  async ({ from, to, amount }, context) => {
    const { signal } = context.lock;
    const [have, had] = await Promise.all([balance(from, signal), balance(to, signal)]);
    if (have < amount) return { moved: 0 };
    await setBalance(from, have - amount, signal);
    await setBalance(to, had + amount, signal);
    return { moved: amount };
  },
);

const account = (name: string) => `${process.env.PROVIDER_URL}/accounts/${name}`;

async function balance(name: string, signal: AbortSignal): Promise<number> {
  return Number(await (await fetch(account(name), { signal })).text());
}

async function setBalance(name: string, amount: number, signal: AbortSignal): Promise<void> {
  await fetch(account(name), { method: "PUT", body: `${amount}`, signal });
}
