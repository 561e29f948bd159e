// Serves edge-function.js in Vercel's edge runtime, in one script as Vercel deploys it.
import { EdgeRuntime, runServer } from "edge-runtime";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: [new URL("edge-function.js", import.meta.url).pathname],
  bundle: true,
  format: "iife",
  write: false,
});
const { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN } = process.env;
const runtime = new EdgeRuntime({
  initialCode: outputFiles[0].text,
  // Of `process` Vercel gives the environment only.
  extend: (context) =>
    Object.assign(context, { process: { env: { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN } } }),
});
console.log((await runServer({ runtime, port: 0, host: "127.0.0.1" })).url);
