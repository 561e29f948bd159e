import { describe, expect, test } from "vitest";
import {
  checkModel,
  configurations,
  describeConfiguration,
  describeResult,
  type MutationName,
  missing,
  mutations,
} from "./spin.ts";

const timeout = 600_000;

describe("the model of the protocol (needs spin and gcc)", () => {
  test.for(configurations.map((each) => [describeConfiguration(each), each] as const))(
    "nothing goes wrong: %s",
    { timeout },
    async ([name, configuration], { skip }) => {
      skip(missing !== undefined, missing);
      const result = await checkModel(configuration);
      console.log(`${name}: ${describeResult(result)}`);
      expect(result.trail).toBe("");
      expect(result.finding).toBeUndefined();
      expect(result.states).toBeGreaterThan(1000);
    },
  );

  test.for(Object.keys(mutations) as MutationName[])(
    "Spin finds: %s",
    { timeout },
    async (name, { skip }) => {
      skip(missing !== undefined, missing);
      const { configuration, finding } = mutations[name];
      const result = await checkModel(configuration, name);
      console.log(`${name}: ${describeResult(result)}`);
      expect(result.finding).toBe(finding);
      expect(result.trail).toMatch(/client 1, round 1 asks: (take|join)/);
    },
  );
});
