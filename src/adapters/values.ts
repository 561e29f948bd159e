// What a value is that a platform or a handler gave, whichever library or realm made it.
import type { ResponseStream } from "./lambda.ts";

/** Whether it is a response of fetch. An error of an API's client has the status and the headers of one. */
export function isResponse(value: unknown): value is Response {
  const { status, headers } = Object(value);
  return typeof status === "number" && typeof headers?.get === "function" && !(value instanceof Error);
}

/** Whether it is what `awslambda.streamifyResponse` hands to a handler. */
export function isStream(value: unknown): value is ResponseStream {
  // An automatic mock of a context has a function at every name that is asked for, and yet none of them is in it.
  return "write" in Object(value) && typeof (value as ResponseStream).write === "function";
}
