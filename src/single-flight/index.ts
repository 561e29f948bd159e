export { ResultMismatchError } from "./errors.ts";
export { forget, type SingleFlightOptions, singleFlight } from "./single-flight.ts";
