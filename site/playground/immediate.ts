/** What the virtual clock waits for between two events: all promises that are settled have run. Browsers have none. */
export function setImmediateByMessage(): void {
  const world = globalThis as { setImmediate?: unknown };
  if (world.setImmediate) return;
  const { port1, port2 } = new MessageChannel();
  const due: (() => void)[] = [];
  port1.onmessage = () => due.shift()?.();
  world.setImmediate = (callback: () => void) => {
    due.push(callback);
    port2.postMessage(0);
  };
}
