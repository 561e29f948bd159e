/**
 * An abort signal whose `aborted` calls `check` first, which may abort it: a timer may be late, and what awaited
 * something runs before it. Once it has a reason, it is aborted.
 */
export function clockedSignal(check: () => void): AbortController {
  const controller = new AbortController();
  const { signal } = controller;
  Object.defineProperty(signal, "aborted", {
    get() {
      check();
      return signal.reason !== undefined;
    },
  });
  signal.throwIfAborted = () => {
    if (signal.aborted) throw signal.reason;
  };
  return controller;
}
