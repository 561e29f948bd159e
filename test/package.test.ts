import { LockOptionError } from "serverless-lock";
import { startDevServer } from "serverless-lock/dev";
import lock from "serverless-lock/middy";
import { oncePerTick } from "serverless-lock/schedule";
import { expect, test } from "vitest";
import { bundle } from "../bench/lib/bundle.ts";
import manifest from "../package.json" with { type: "json" };

// Of the package as it was built.

const modules = Object.values(manifest.exports)
  .map((target) => (typeof target === "string" ? target : target.default))
  .filter((file) => file.endsWith(".js") && !file.includes("/dev/"));

test.each(modules)(
  "%s is one file, and the core another: an import takes its time by the file",
  async (file) => {
    const { files } = await bundle(`export * from "${file}"`);
    expect(files).toBe(2);
  },
);

test("the errors of all its modules are of the same classes", async () => {
  expect(() => lock({ key: "" })).toThrow(LockOptionError);
  expect(() => oncePerTick("")).toThrow(LockOptionError);
  await expect(startDevServer({ port: -1 })).rejects.toThrow(LockOptionError);
});
