import { lockFetch } from "serverless-lock/fetch";
import { answer, options } from "../entry.js";

const onListen = ({ port }) => console.log(`http://127.0.0.1:${port}`);
Deno.serve(
  { port: 0, hostname: "127.0.0.1", onListen },
  lockFetch(options, (request) => answer(request, Deno.env.toObject())),
);
