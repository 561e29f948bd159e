import type { LambdaContext } from "../../src/adapters/lambda.ts";

/** A Lambda context with so many ms left, as much of it as a lock looks at. */
export function lambda(left = 30_000, more: object = {}): LambdaContext {
  const end = performance.now() + left;
  return {
    functionName: "charge",
    awsRequestId: "request-1",
    getRemainingTimeInMillis: () => Math.max(0, end - performance.now()),
    ...more,
  } as LambdaContext;
}
