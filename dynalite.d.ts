declare module "dynalite" {
  import type { Server } from "node:http";
  import type { AddressInfo } from "node:net";
  export default function dynalite(options: { createTableMs?: number }): Server & { address(): AddressInfo };
}
