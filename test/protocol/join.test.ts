import { expect, test } from "vitest";
import { protocolScript } from "../../src/protocol/script.ts";
import { decodeState } from "../../src/protocol/state.ts";
import { createRealEngine } from "../simulation/engine.ts";
import { createModelEngine } from "../simulation/model.ts";

const key = "lock:{k}";
const token = "0".repeat(32);
const lockKeys = [key, `${key}:operator`];
const keys = [...lockKeys, `${key}:waiters`, `${key}:gone:${token}`];

test.each([
  ["the script", createRealEngine],
  ["the model", createModelEngine],
])("asked again by a holder that was made a reader, %s leaves it a reader", async (_, create) => {
  const engine = await create();
  engine.now = Date.UTC(2100, 0, 1);
  const run = (keys: string[], ...args: string[]) =>
    engine.command("EVAL", protocolScript(), `${keys.length}`, ...keys, ...args);
  const join = () => run(keys, "5000", "", "", token, "x", "1", "join");
  await engine.command("FLUSHALL");
  expect(await join()).toHaveLength(3);
  expect(await run(lockKeys, "0", token, "5000", token, "s", "extend")).toEqual(["s2!"]);
  expect(await join()).toEqual([1, 0, "s2!"]);
  const state = decodeState((await engine.command("GET", key)) as string);
  expect(state?.holders).toMatchObject([{ token, mode: "s", weight: 1 }]);
});
