// A process that takes a lock from the environment's Redis and does what its arguments say:
//   hold KEY OPTIONS      takes it and works in small steps under it, as long as it believes to hold it
//   once KEY OPTIONS      takes it, releases it, and has nothing more to do
//   wait KEY OPTIONS      as once, and says when it stands in the queue; and when it waited in vain
//   crowd KEY COUNT       tries COUNT times at once, and says how often it got in
import { createInterface } from "node:readline";
import { Redis } from "@upstash/redis";
import { createLocker, type LockEvent } from "../../src/index.ts";

const [task, key = "", argument = "{}"] = process.argv.slice(2);
// With USE_UPSTASH set, through an @upstash/redis instance.
const locker = createLocker(process.env.USE_UPSTASH ? { redis: Redis.fromEnv() } : {});
const say = (...words: unknown[]) => console.log(words.join(" "));

if (task === "hold") {
  const lock = await locker.acquire(key, JSON.parse(argument));
  const { signal } = lock;
  say("held", lock.token);
  // What a handler does between two awaits: it asks whether it may go on, and goes on.
  let steps = 0;
  const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (;;) {
    await commands.next();
    if (signal.aborted) break;
    say("worked", ++steps, Date.now());
  }
  say("aborted", (signal.reason as Error).name, lock.held);
  say("released", await lock.release());
  process.exit();
}

if (task === "once") {
  const lock = await locker.acquire(key, JSON.parse(argument));
  await lock.release();
  say("done");
}

if (task === "wait") {
  const onEvent = (event: LockEvent) => event.type === "waiting" && say("waiting", event.place);
  try {
    const lock = await locker.acquire(key, { ...JSON.parse(argument), onEvent });
    say("held");
    say("released", await lock.release());
  } catch (error) {
    say("failed", (error as Error).name);
  }
}

if (task === "crowd") {
  const locks = await Promise.all(Array.from({ length: Number(argument) }, () => locker.tryAcquire(key)));
  say("won", locks.filter((lock) => lock !== null).length);
  // Its lock is held on, for the other process to find.
  await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();
  process.exit();
}
