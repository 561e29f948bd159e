// What a lock has to do in every runtime: only web-standard things, and the package as it is published.
import { createLocker, LockBusyError, LockLostError, LockUnavailableError } from "serverless-lock";
import { lockFetch } from "serverless-lock/fetch";
import { aborted, check, failure, listener, report } from "./tools.js";

/** A step that goes by short times is tried as often: on a machine that stalls, the lock is right to lose. */
const tries = [1, 2, 3];

/**
 * Runs the steps and reports each as it ends. "standing" asks whoever holds that lock to release it; there is one
 * for each try, `<key>:passed:1` and so on.
 *
 * @param {{ url: string, token: string, closed: string, key: string }} world where Redis is, a URL where nobody
 *   listens, and what all keys begin with
 * @returns {AsyncGenerator<{ step: string, ok: boolean, seen: string } | { standing: string }>}
 */
export async function* scenario({ url, token, closed, key }) {
  const at = { locker: createLocker({ url, token }), url, token, closed, key };
  // It takes as long as its leases do, so it goes on beside the others.
  const renewed = renewInTime(at);
  yield report("take", take(at));
  yield report("busy", busy(at));
  yield report("lose", lose(at));
  yield report("body read", bodyRead(at));
  yield report("body cancelled", bodyCancelled(at));
  yield report("unavailable", unavailable(at));
  yield* handOver(at);
  yield renewed;
}

async function renewInTime(at) {
  let renewed;
  for (const each of tries) {
    renewed = await report("renew", renew(at, `${at.key}:renewed:${each}`));
    if (renewed.ok) break;
  }
  return renewed;
}

async function* handOver(at) {
  let passed;
  for (const each of tries) {
    const key = `${at.key}:passed:${each}`;
    const { standing, granted } = queue(at.locker, key);
    const granting = report("hand over", granted);
    if (await standing) yield { standing: key };
    passed = await granting;
    if (passed.ok) break;
  }
  yield passed;
}

async function take({ locker, key }) {
  const lock = await locker.acquire(`${key}:taken`, { fencing: true });
  const { held, remaining, fence } = lock;
  check(held && remaining > 5000, `held is ${held}, for ${remaining} ms`);
  check(Number.isSafeInteger(fence), `the fencing token is ${fence}`);
  check(await lock.release(), "release said it had been lost");
  check(!lock.held, "still held after its release");
  return `relied on for ${Math.round(remaining)} ms, then released`;
}

async function busy({ locker, key }) {
  const lock = await locker.acquire(`${key}:busy`, { owner: "the first" });
  check((await locker.tryAcquire(lock.key)) === null, "taken twice");
  const error = await failure(locker.acquire(lock.key));
  check(error instanceof LockBusyError, `rejected with ${error}`);
  const { owner, retryAfter } = error;
  check(owner === "the first" && retryAfter > 0, `of ${owner}, for ${retryAfter} ms`);
  await lock.release();
  return `${error.name}, retry after ${retryAfter} ms`;
}

async function renew({ locker }, key) {
  const { onEvent, told } = listener();
  const started = Date.now();
  const options = { ttl: "1s", onEvent };
  return locker.withLock(key, options, async ({ signal }) => {
    // A third of the lease each: more than two leases.
    await Promise.race([told("renewed", 7), aborted(signal)]);
    const outlived = Date.now() - started;
    check(outlived > 2000, `7 renewals within ${outlived} ms`);
    check((await locker.tryAcquire(key)) === null, "free while it was held");
    return `a lease of 1 s held for ${outlived} ms`;
  });
}

/** Waits for a lock that another process holds. */
function queue(locker, key) {
  const { onEvent, told } = listener();
  const acquiring = locker.acquire(key, { wait: "20s", onEvent });
  // It asks once more when the stream is open, and after that not for the better part of a second: released now, the
  // lock comes by a message.
  const standing = Promise.race([
    told("waiting", 3),
    acquiring.then(
      () => false,
      () => false,
    ),
  ]);
  async function granted() {
    const lock = await acquiring;
    const { waited, granted } = await told("acquired", 1);
    check(await lock.release(), "release said it had been lost");
    check(granted, `found by asking after ${Math.round(waited)} ms, not told of by a message`);
    return `granted by a message after ${Math.round(waited)} ms`;
  }
  return { standing, granted: granted() };
}

async function lose({ locker, url, token, key }) {
  const headers = { authorization: `Bearer ${token}` };
  const lock = await locker.acquire(`${key}:lost`, { ttl: "2s", renew: true });
  const { signal } = lock;
  // Work under the lock that would never end by itself: a request that is given the lock's signal.
  const response = await fetch(`${url}/subscribe/${key}:silence`, { headers, signal });
  const work = failure(response.text());
  const body = JSON.stringify(["DEL", `lock:{${lock.key}}`]);
  await fetch(url, { method: "POST", headers, body });

  const reason = await failure(aborted(signal));
  check(reason instanceof LockLostError, `aborted with ${reason}`);
  check(signal.aborted && !lock.held, `aborted ${signal.aborted}, held ${lock.held}`);
  check((await lock.release()) === false, "release said it was still ours");
  const { name } = await work;
  return `${reason.name}; a request under way ended with ${name}`;
}

async function bodyRead({ locker, key }) {
  const { reader, key: locked } = await openBody(locker, `${key}:read`);
  check((await locker.tryAcquire(locked)) === null, "free while the body was open");
  let chunks = 1;
  while (!(await reader.read()).done) chunks++;
  check(chunks === 3, `${chunks} chunks of 3`);
  return `busy up to the body's end, ${await free(locker, locked)}`;
}

async function bodyCancelled({ locker, key }) {
  const { reader, key: locked } = await openBody(locker, `${key}:cancelled`);
  check((await locker.tryAcquire(locked)) === null, "free while the body was open");
  await reader.cancel();
  return `busy until it was cancelled, ${await free(locker, locked)}`;
}

/** The streamed body of a locked handler, its first chunk read. */
async function openBody(locker, key) {
  const chunks = ["a", "b", "c"];
  const handler = lockFetch({ locker, key }, ({ lock }) => {
    check(lock.held, "the handler ran without the lock");
    const pull = (controller) => {
      const chunk = chunks.shift();
      if (chunk) controller.enqueue(new TextEncoder().encode(chunk));
      else controller.close();
    };
    return new Response(new ReadableStream({ pull }));
  });
  const { body } = await handler(new Request("http://localhost/"));
  const reader = body.getReader();
  const { value } = await reader.read();
  check(new TextDecoder().decode(value) === "a", "another chunk came first");
  return { reader, key };
}

/** Where the platform has a `waitUntil`, the release may be on its way still. */
async function free(locker, key) {
  const lock = await locker.acquire(key, { wait: "5s" });
  await lock.release();
  return "free after";
}

async function unavailable({ closed, token, key }) {
  const locker = createLocker({ url: closed, token, requestTimeout: "200ms" });
  const error = await failure(locker.acquire(`${key}:unavailable`));
  check(error instanceof LockUnavailableError, `rejected with ${error}`);
  return `${error.name}: ${error.cause?.message}`;
}
