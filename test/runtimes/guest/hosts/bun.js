import { lockFetch } from "serverless-lock/fetch";
import { answer, options } from "../entry.js";

const { port } = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: lockFetch(options, (request) => answer(request, process.env)),
});
console.log(`http://127.0.0.1:${port}`);
