import { serve } from "@hono/node-server";
import { lockFetch } from "serverless-lock/fetch";
import { answer, options } from "../entry.js";

const fetch = lockFetch(options, (request) => answer(request, process.env));
serve({ fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => console.log(`http://127.0.0.1:${port}`));
