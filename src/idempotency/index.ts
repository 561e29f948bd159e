export { type IdempotentOptions, idempotent } from "./idempotent.ts";
