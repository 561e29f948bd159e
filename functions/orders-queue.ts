import { setTimeout } from "node:timers/promises";
import { Redis } from "@upstash/redis";
import type { SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import { createLocker } from "serverless-lock";

const locker = createLocker({ redis: Redis.fromEnv() });

/** Ships orders from a queue. What is busy or fails goes back to the queue alone; the rest of its batch is done. */
export async function handler(event: SQSEvent): Promise<SQSBatchResponse> {
  const outcomes = await Promise.allSettled(event.Records.map(processRecord));
  const batchItemFailures = event.Records.flatMap(({ messageId }, i) => {
    const outcome = outcomes[i];
    if (outcome?.status !== "rejected") return [];
    console.log(`message ${messageId} goes back to the queue: ${outcome.reason}`);
    return [{ itemIdentifier: messageId }];
  });
  return { batchItemFailures };
}

async function processRecord({ body }: SQSRecord): Promise<void> {
  const { order } = JSON.parse(body) as { order: string };
  await locker.withLock(`order:${order}`, (lock) => ship(order, lock.signal));
}

/** Stands for the real work. The signal stops it should the lock be lost. */
async function ship(order: string, signal: AbortSignal) {
  await setTimeout(100, undefined, { signal });
  console.log(`shipped order ${order}`);
}
