import * as source from "./entry.ts";

/** What a history needs of the package: from src/, or from a bundle of it with a defect built in. */
export type Library = typeof source;

/** @param file a bundle of `entry.ts`; by default src/ as it is */
export async function loadLibrary(file?: string): Promise<Library> {
  return file ? ((await import(file)) as Library) : source;
}
