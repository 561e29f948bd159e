// What the steps of scenario.js have in common; no assertion library runs everywhere.

/** Counts what a lock tells. */
export function listener() {
  const events = [];
  const awaited = [];
  const settle = () => {
    for (const { type, times, resolve } of awaited) {
      const found = events.filter((event) => event.type === type);
      if (found.length >= times) resolve(found[times - 1]);
    }
  };
  return {
    onEvent(event) {
      events.push(event);
      settle();
    },
    /** Resolves to the event that makes the number full. */
    told: (type, times) =>
      new Promise((resolve) => {
        awaited.push({ type, times, resolve });
        settle();
      }),
  };
}

/** Rejects when the signal aborts, with its reason. */
export function aborted(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

/** What a promise rejects with. */
export function failure(promise) {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved to ${typeof value}`)),
    (error) => error,
  );
}

export function check(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

/** @param {Promise<string>} doing */
export function report(step, doing) {
  return doing.then(
    (seen) => ({ step, ok: true, seen }),
    (error) => ({ step, ok: false, seen: `${error}` }),
  );
}
