import type { Locker } from "../api.ts";
import { type Inspection, list } from "./index.ts";

/** The locks of all pages, or of so many, in the order of their keys. SCAN may find a key more than once. */
export async function listEvery(
  locker: Locker,
  prefix?: string,
  mostPages = Number.POSITIVE_INFINITY,
): Promise<{ locks: Inspection[]; pages: number; more: boolean }> {
  const byKey = new Map<string, Inspection>();
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await list(locker, { prefix, cursor, count: 1000 });
    for (const lock of page.locks) byKey.set(lock.key, lock);
    cursor = page.cursor;
    pages++;
  } while (cursor !== undefined && pages < mostPages);
  const locks = [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  return { locks, pages, more: cursor !== undefined };
}
