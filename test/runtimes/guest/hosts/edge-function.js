import { lockFetch } from "serverless-lock/fetch";
import { answer, options } from "../entry.js";

const fetch = lockFetch(options, (request) => answer(request, process.env));
addEventListener("fetch", (event) => event.respondWith(fetch(event.request, event)));
