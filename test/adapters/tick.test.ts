import { inspect } from "node:util";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { lockHandler } from "../../src/adapters/lambda.ts";
import { oncePerTick } from "../../src/adapters/schedule.ts";
import { LockOptionError } from "../../src/index.ts";
import { lambda } from "../helpers/lambda.ts";

// No request is to be sent here.
const nowhere = { url: "http://127.0.0.1:9", token: "none" };
const fetched = vi.spyOn(globalThis, "fetch");
afterEach(() => expect(fetched).not.toHaveBeenCalled());

describe("oncePerTick", () => {
  test.each([
    [{ time: "2026-11-22T02:00:00Z" }],
    [{ time: "2026-11-22T02:00:00.000Z" }],
    [{ time: "2026-11-22T03:00:00+01:00" }],
    [{ scheduledTime: "2026-11-22T02:00:00Z", time: "2026-11-22T02:00:07Z" }],
    [{ scheduledTime: Date.UTC(2026, 10, 22, 2) }],
    // Of Vercel's Schedules: the same for every delivery of an occurrence.
    [{ name: "report", scheduledAt: "2026-11-22T02:00:00Z", executionId: "exec_1" }],
    [{ scheduledAt: new Date("2026-11-22T02:00:00Z") }],
  ])("the tick is what the trigger says, however it says it: %j", (trigger) => {
    const { key } = oncePerTick("report", { period: "1h" });
    expect(key(trigger)).toBe("report@2026-11-22T02:00:00.000Z");
  });

  test.each<[string, Parameters<typeof oncePerTick>[1], string]>([
    ["2026-11-22T00:04:29Z", { period: "5m" }, "2026-11-22T00:05:00.000Z"],
    ["2026-11-22T00:05:42Z", { period: "5m" }, "2026-11-22T00:05:00.000Z"],
    ["2026-11-22T01:59:30Z", { period: "1d", offset: "2h" }, "2026-11-22T02:00:00.000Z"],
    ["2026-11-22T13:59:59Z", { period: "1d", offset: "2h" }, "2026-11-22T02:00:00.000Z"],
    ["2026-11-22T14:00:01Z", { period: "1d", offset: "2h" }, "2026-11-23T02:00:00.000Z"],
    ["2026-11-22T23:59:59Z", { period: 3_600_000, offset: 0 }, "2026-11-23T00:00:00.000Z"],
  ])("without one it is the tick nearest to the clock: at %s with %j", (now, options, tick) => {
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.parse(now));
    onTestFinished(() => clock.mockRestore());
    const { key } = oncePerTick("report", options);
    const triggers = [new Request("http://a"), undefined, {}, { time: "soon" }, { time: null }];
    for (const trigger of triggers) expect(key(trigger)).toBe(`report@${tick}`);
  });

  test("a time without a zone is one of UTC, so that no hour is skipped and all machines agree", () => {
    vi.stubEnv("TZ", "Europe/Berlin");
    onTestFinished(() => void vi.unstubAllEnvs());
    const { key } = oncePerTick("report");
    // In this night clocks there go from 2 to 3.
    const ticks = ["2026-03-29T02:30:00", "2026-03-29 02:30", "2026-03-29T03:30:00.000"];
    const said = ["02:30", "02:30", "03:30"].map((time) => `report@2026-03-29T${time}:00.000Z`);
    expect(ticks.map((time) => key({ time }))).toEqual(said);
    expect(ticks.map((scheduledTime) => key({ scheduledTime }))).toEqual(said);
  });

  test("a request does not say for which tick it is: anybody may send one", () => {
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.parse("2026-11-22T02:00:00Z"));
    onTestFinished(() => clock.mockRestore());
    const request = new Request("http://a/cron?scheduledAt=2000-01-01T00:00:00Z&time=1", {
      method: "POST",
      headers: { scheduledAt: "2000-01-01T00:00:00Z", "x-vercel-scheduled-at": "2000-01-01T00:00:00Z" },
      body: JSON.stringify({ scheduledAt: "2000-01-01T00:00:00Z", time: "2000-01-01T00:00:00Z" }),
    });
    expect(oncePerTick("report", { period: "1d" }).key(request)).toBe("report@2026-11-22T00:00:00.000Z");
  });

  test("a trigger that says no tick is refused where no period is known", async () => {
    const handler = lockHandler({ ...nowhere, ...oncePerTick("report") }, () => {});
    const error = await handler({}, lambda()).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LockOptionError);
    // As a log shows it, with its cause.
    expect(inspect(error)).toMatch(/period: got a trigger without a time/);
  });

  test.each<[string, object, string]>([
    ["", {}, "key"],
    // With a tick behind it, it would be too long for a key.
    ["r".repeat(1000), {}, "key"],
    ["report", { period: "0s" }, "period"],
    ["report", { period: "999ms" }, "period"],
    ["report", { period: "32d" }, "period"],
    ["report", { period: "daily" }, "period"],
    ["report", { offset: -1 }, "offset"],
    ["report", { offset: "32d" }, "offset"],
    ["report", { offset: "2h" }, "offset"],
    ["report", { holdFor: "32d" }, "holdFor"],
  ])("a wrong option is refused as soon as it is given: %j, %j", (name, options, option) => {
    const deploy = () => lockHandler({ ...nowhere, ...oncePerTick(name, options) }, () => {});
    expect(deploy).toThrow(LockOptionError);
    expect(deploy).toThrow(new RegExp(`^${option}: `));
  });
});
