import { join } from "node:path";

export default {
  // Where node_modules are, and what the routes import from.
  turbopack: { root: join(import.meta.dirname, "..") },
};
