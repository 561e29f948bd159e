import { lockHandler } from "serverless-lock/lambda";

interface Event {
  key: string;
  steps: number;
}

/** Works in steps, for each of which it asks leave; before each it looks whether it still may. */
export const handler = lockHandler(
  { key: ({ key }: Event) => key, ttl: Number(process.env.TTL) },
  async ({ steps }, { awsRequestId, lock }) => {
    for (let step = 1; step <= steps; step++) {
      await fetch(`http://${process.env.AWS_LAMBDA_RUNTIME_API}/step/${awsRequestId}`);
      if (lock.signal.aborted) throw lock.signal.reason;
    }
    return "done";
  },
);
