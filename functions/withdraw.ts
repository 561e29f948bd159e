import { postgresFence } from "serverless-lock/fence";
import { lockHandler } from "serverless-lock/lambda";
import { openDatabase } from "./database.ts";

interface Withdrawal {
  account: string;
  amount: number;
}

export const database = openDatabase();

/**
 * Takes money from an account: reads its balance, has the money paid out, writes the balance. One that is frozen past
 * its lease and thawed later finds that another has written meanwhile. Its transaction fails, and undoes nothing.
 */
export const handler = lockHandler(
  { key: ({ account }: Withdrawal) => `account:${account}`, fencing: true, ttl: "2s", wait: "20s" },
  async ({ account, amount }, context) => {
    const { rows, transaction } = await database;
    const [found] = await rows({ text: "SELECT balance FROM accounts WHERE id = $1", values: [account] });
    const balance = Number(found?.balance) - amount;
    if (!(balance >= 0)) return { withdrawn: 0 };
    // Not with the lock's signal: a payment under way is not called back.
    await fetch(`${process.env.PROVIDER_URL}/payouts`, { method: "POST", body: `${amount}` });
    await transaction(postgresFence(context.lock), {
      text: "UPDATE accounts SET balance = $1 WHERE id = $2",
      values: [balance, account],
    });
    return { withdrawn: amount };
  },
);
