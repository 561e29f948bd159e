import { lockFetch } from "serverless-lock/cloudflare";
import { answer, options } from "../entry.js";

export default { fetch: lockFetch(options, answer) };
