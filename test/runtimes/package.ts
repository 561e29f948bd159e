import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guest, runToEnd } from "./host.ts";

const root = join(import.meta.dirname, "../..");

/** Puts the package where the runtimes find it: packed and unpacked, as it comes from a registry. */
export async function installPackage(): Promise<void> {
  if (!existsSync(join(root, "dist/index.js")))
    throw new Error("There is no dist/: run npm run build before");
  const packed = await mkdtemp(join(tmpdir(), "serverless-lock-packed-"));
  try {
    await runToEnd(["npm", "pack", root, "--ignore-scripts", "--silent", "--pack-destination", packed]);
    const [archive = ""] = await readdir(packed);
    const to = join(guest, "node_modules/serverless-lock");
    await rm(to, { recursive: true, force: true });
    await mkdir(to, { recursive: true });
    await runToEnd(["tar", "-xzf", join(packed, archive), "-C", to, "--strip-components=1"]);
  } finally {
    await rm(packed, { recursive: true, force: true });
  }
}
