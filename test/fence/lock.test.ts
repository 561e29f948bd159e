import { dynamoFence, fencedSet, postgresFence, redisFence } from "serverless-lock/fence";
import { expect, test } from "vitest";

test.each<[string, (lock: never) => unknown]>([
  ["postgresFence", postgresFence],
  ["dynamoFence", dynamoFence],
  ["dynamoFence.attributes", dynamoFence.attributes],
  ["redisFence", redisFence],
  ["fencedSet", (lock) => fencedSet(lock, "balance", "5")],
])("%s refuses what is no lock, and a lock without keys", (_name, fence) => {
  for (const wrong of [undefined, "order:42", {}, { keys: [], fence: 1 }])
    expect(() => fence(wrong as never)).toThrow(/^lock: got no lock, expected one with its keys$/);
});
