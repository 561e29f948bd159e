// A scope as a browser's worker has one, in a thread: of a file of tests, or of a worker that a test starts.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { runInThisContext } from "node:vm";
import { parentPort, Worker as Thread, workerData } from "node:worker_threads";
import { createLocker } from "../../src/index.ts";
import { lockManager } from "../../src/web-locks/index.ts";

export interface ScopeOptions {
  /** Of the Web Platform Tests. */
  folder: string;
  file: string;
  kind: "test" | "worker";
  url: string;
  token: string;
  prefix: string;
}

export interface Result {
  test: string;
  /** Undefined if it passed. */
  failure: string | undefined;
}

/** What testharness.js puts into the scope, as far as it is used here. */
interface Harness {
  add_result_callback(told: (test: { name: string; status: number; message: string | null }) => void): void;
  add_completion_callback(told: () => void): void;
}

const options: ScopeOptions = workerData;
const { folder, file, kind, url, token, prefix } = options;
const messages: (message: unknown) => void = (message) => parentPort?.postMessage(message);

/** A browser's worker, as tests start one. */
class Worker {
  readonly #thread: Thread;

  constructor(path: string) {
    const own: ScopeOptions = { ...options, kind: "worker", file: join(dirname(file), path) };
    this.#thread = new Thread(new URL(import.meta.url), { workerData: own });
  }

  postMessage(data: unknown): void {
    this.#thread.postMessage(data);
  }

  addEventListener(_: "message", listener: (event: { data: unknown }) => void): void {
    this.#thread.on("message", (data) => listener({ data }));
  }

  removeEventListener(): void {}

  terminate(): void {
    void this.#thread.terminate();
  }
}

const locks = lockManager(createLocker({ url, token, prefix }));
const scope = {
  self: globalThis,
  location: new URL(file.slice(folder.length), "https://web-platform.test"),
  navigator: { locks },
  isSecureContext: true,
  Worker,
  postMessage: messages,
  addEventListener(type: string, listener: (event: { data: unknown }) => void): void {
    if (type === "message") parentPort?.on("message", (data) => listener.call(globalThis, { data }));
  },
};
for (const [name, value] of Object.entries(scope))
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
// Some tests leave promises that reject.
process.on("unhandledRejection", () => {});

if (kind === "test") {
  run(join(folder, "resources/testharness.js"));
  const harness = globalThis as unknown as Harness;
  harness.add_result_callback(({ name, status, message }) => {
    const result: Result = { test: name, failure: status === 0 ? undefined : `${message}` };
    messages(result);
  });
  harness.add_completion_callback(() => messages("done"));
  for (const [, script = ""] of readFileSync(file, "utf8").matchAll(/^\/\/ META: script=(.*)$/gm))
    run(script.startsWith("/") ? join(folder, script) : join(dirname(file), script));
}
run(file);

function run(script: string): void {
  runInThisContext(readFileSync(script, "utf8"), { filename: script });
}
