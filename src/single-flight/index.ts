export { ResultMismatchError } from "./errors.ts";
export {
  forget,
  type OwnOptions,
  readOwn,
  type SingleFlightOptions,
  singleFlight,
  takeFlight,
  unheldFlight,
} from "./single-flight.ts";
