import { setTimeout } from "node:timers/promises";
import type { SQSRecord } from "aws-lambda";
import { lockRecords } from "serverless-lock/lambda";

/** Ships orders from a queue. What is busy or fails goes back to the queue alone; the rest of its batch is done. */
export const handler = lockRecords({ key: (record: SQSRecord) => `order:${orderOf(record)}` }, (record) =>
  ship(orderOf(record), record.lock.signal),
);

function orderOf({ body }: SQSRecord): string {
  return (JSON.parse(body) as { order: string }).order;
}

/** Stands for the real work. The signal stops it should the lock be lost. */
async function ship(order: string, signal: AbortSignal) {
  await setTimeout(100, undefined, { signal });
  console.log(`shipped order ${order}`);
}
