import { afterEach, describe, expect, test, vi } from "vitest";
import { createNetwork } from "../../src/dev/network.ts";

describe("the simulated network", () => {
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  /** Milliseconds of fake time until the promise settles. */
  async function duration(promise: Promise<unknown>): Promise<number> {
    const start = Date.now();
    let end = 0;
    promise.then(() => {
      end = Date.now();
    });
    await vi.runAllTimersAsync();
    return end - start;
  }

  test("waits half a round trip before a request and half after it", async () => {
    vi.useFakeTimers();
    const network = createNetwork({ latency: 21, jitter: 0 });
    const arrival = network.arrive();
    expect(await duration(arrival)).toBe(11);
    expect(await duration((await arrival).goBack())).toBe(10);
    expect(network.wayBack()).toBe(10);
  });

  test("adds the jitter, at random, to the whole", async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const arrival = createNetwork({ latency: 20, jitter: 8 }).arrive();
    expect(await duration(arrival)).toBe(12);
    expect(await duration((await arrival).goBack())).toBe(12);
  });

  test("is no detour without latency", async () => {
    vi.useFakeTimers();
    const network = createNetwork({ latency: 0, jitter: 0 });
    const { goBack } = await network.arrive();
    await goBack();
    expect(vi.getTimerCount()).toBe(0);
    expect(network.wayBack()).toBe(0);
  });
});
