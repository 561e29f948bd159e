import { lockFetch } from "serverless-lock/fetch";
import { answer, options } from "../../../entry.js";

export const runtime = "edge";
export const dynamic = "force-dynamic";
export const GET = lockFetch(options, (request) => answer(request, process.env));
