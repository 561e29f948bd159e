import { expect, test } from "vitest";
import { fenceKit } from "../../src/fence/index.ts";

/** A resource with a fence that can be made in wrong ways. */
function resource(refuses: (fence: number, newest: number) => boolean) {
  let newest = 0;
  let value: string | undefined;
  return {
    read: () => value,
    async write({ fence }: { fence: number }, next: string) {
      if (refuses(fence, newest)) throw new Error("stale");
      newest = fence;
      value = next;
    },
    /** As `write`, but the value is there although it is refused. */
    async writeFirst({ fence }: { fence: number }, next: string) {
      value = next;
      await this.write({ fence }, next);
    },
  };
}

test("a write that refuses the stale ones passes", async () => {
  const { write, read } = resource((fence, newest) => fence < newest);
  await fenceKit(write);
  await fenceKit(write, { read, key: "order:42" });
});

test("a write that checks nothing is found", async () => {
  const { write } = resource(() => false);
  await expect(fenceKit(write)).rejects.toThrow("A stale write got through");
});

test("a write that refuses only a token it has not seen before is found", async () => {
  const seen = new Set<number>();
  const { write } = resource((fence, newest) => {
    const known = seen.has(fence);
    seen.add(fence);
    return fence < newest && !known;
  });
  await expect(fenceKit(write)).rejects.toThrow("A stale write got through after it had written");
});

test("a write that refuses the token of the last holder is found, who may write more than once", async () => {
  const { write } = resource((fence, newest) => fence <= newest);
  await expect(fenceKit(write)).rejects.toThrow("The older write was refused, and is not stale");
});

test("a write that refuses everybody is found, with what it said", async () => {
  const error = await fenceKit(() => Promise.reject(new Error("no table"))).catch((error) => error);
  expect(error).toMatchObject({ message: expect.stringContaining("refused"), cause: new Error("no table") });
});

test("a write that is refused and leaves its value all the same is found, if it is read again", async () => {
  const bad = resource((fence, newest) => fence < newest);
  const write = bad.writeFirst.bind(bad);
  await fenceKit(write);
  await expect(fenceKit(write, { read: bad.read })).rejects.toThrow('the resource has "older"');
});

test("a check that is not in one step with its write is found, if it is read again", async () => {
  let newest = 0;
  let value: string | undefined;
  async function write({ fence }: { fence: number }, next: string) {
    if (fence < newest) throw new Error("stale");
    // The one that comes first takes longer.
    for (let turns = next === "older" ? 20 : 1; turns > 0; turns--) await undefined;
    newest = fence;
    value = next;
  }
  await fenceKit(write);
  await expect(fenceKit(write, { read: () => value })).rejects.toThrow('the resource has "older"');
});

test.each([
  ["write: got undefined, expected a function", undefined, {}],
  ["read: got string, expected a function", () => {}, { read: "balance" }],
  ["reed: got function, expected read or key", () => {}, { reed: () => {} }],
])("wrong use is told from a wrong write: %s", async (message, write, options) => {
  await expect(fenceKit(write as never, options as never)).rejects.toThrow(new TypeError(message));
});
