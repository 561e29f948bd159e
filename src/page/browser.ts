import type { Holder, Inspection, Waiter } from "../admin/index.ts";
import type { Seen } from "./index.ts";

/**
 * The page's own program. It is sent as this function's text: nothing outside of it is there, but what a browser has.
 * Keys and owners are set as text, never as markup.
 */
export function browser(): void {
  const pollEvery = 2000;
  /** How many rows there are at first, and how many more once the last one is in sight. */
  const rowsAtOnce = 40;
  /** How far back the timeline goes, in ms. */
  const longest = 600_000;
  const by = <T extends Element>(selector: string) => document.querySelector(selector) as T;
  const [search, live, limit] = ["#search", "#live", "#limit"].map((id) => by<HTMLInputElement>(id)) as [
    HTMLInputElement,
    HTMLInputElement,
    HTMLInputElement,
  ];
  const [body, dialog] = [by<HTMLElement>("tbody"), by<HTMLDialogElement>("dialog")];
  const opened = Date.now();

  interface Row {
    row: HTMLTableRowElement;
    cells: HTMLElement[];
    bar: HTMLElement;
    lease: number;
    /** Only rows in sight are filled anew. */
    inSight: boolean;
  }
  /** What was seen of a holder from when to when, in which lane of the timeline. */
  interface Span {
    name: string;
    from: number;
    to: number;
    kept: boolean;
    lane: number;
  }
  interface History {
    spans: Map<string, Span>;
    queue: { at: number; waiters: number }[];
    /** When it was last among the locks. */
    seen: number;
  }

  let locks: Inspection[] = [];
  let chosen: string | undefined;
  let shown = rowsAtOnce;
  let looked = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const rows = new Map<string, Row>();
  const histories = new Map<string, History>();

  const watched = new WeakMap<Element, string>();
  const sight = new IntersectionObserver((entries) => {
    const byKey = new Map(locks.map((lock) => [lock.key, lock]));
    for (const { target, isIntersecting } of entries) {
      const key = watched.get(target) ?? "";
      const [row, lock] = [rows.get(key), byKey.get(key)];
      if (!row) continue;
      row.inSight = isIntersecting;
      if (isIntersecting && lock) fillRow(row, lock, Date.now());
    }
  });

  function duration(ms: number | undefined): string {
    if (ms === undefined) return "no end";
    if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
    if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
    return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
  }

  function setText(element: Element, text: string): void {
    if (element.textContent !== text) element.textContent = text;
  }

  /** Without what turns the text after it around. */
  function plain(text: string): string {
    return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  }

  function nameOf({ owner }: Holder | Waiter): string {
    return plain(owner ?? "unnamed");
  }

  function stateOf({ state, holders, paused }: Inspection): [name: string, text: string] {
    const kept = state === "held" && holders.every((holder) => holder.kept);
    const name = kept ? "kept" : state;
    return [
      name,
      [name, holders[0]?.ended ? "ending" : "", paused ? "paused" : ""].filter(Boolean).join(", "),
    ];
  }

  function newRow(key: string): Row {
    const row = document.createElement("tr");
    const cells = Array.from({ length: 6 }, () => document.createElement("td")) as HTMLElement[];
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = plain(key);
    button.addEventListener("click", () => choose(key));
    const track = document.createElement("div");
    track.className = "lease";
    const bar = document.createElement("div");
    const text = document.createElement("span");
    track.append(bar);
    cells[0]?.append(button);
    cells[4]?.append(text, track);
    row.append(...cells);
    watched.set(row, key);
    sight.observe(row);
    return { row, cells: cells.map((cell, i) => (i === 4 ? text : cell)), bar, lease: 1, inSight: true };
  }

  function fillRow(target: Row, lock: Inspection, now: number): void {
    const { row, cells, bar } = target;
    const { holders, waiters, key } = lock;
    const [first, ...others] = holders;
    const [name, text] = stateOf(lock);
    const [, state, held, since, left, waiting] = cells as HTMLElement[];
    setText(state as HTMLElement, text);
    if (state?.className !== name) (state as HTMLElement).className = name;
    const more = others.length > 0 ? ` and ${others.length} more` : "";
    setText(held as HTMLElement, first ? nameOf(first) + more : "–");
    setText(since as HTMLElement, first?.since === undefined ? "–" : duration(now - first.since));
    setText(left as HTMLElement, first ? duration(first.remaining) : "–");
    setText(waiting as HTMLElement, `${waiters.length}`);
    const remaining = first?.remaining ?? 0;
    target.lease = Math.max(target.lease, remaining, 1);
    bar.style.transform = `scaleX(${remaining / target.lease})`;
    row.ariaCurrent = `${key === chosen}`;
  }

  function draw(): void {
    const now = Date.now();
    const wanted = locks.filter(({ key, holders, waiters }) =>
      [key, ...[...holders, ...waiters].map(nameOf)].some((text) =>
        text.toLowerCase().includes(search.value.toLowerCase()),
      ),
    );
    const inSight = wanted.slice(0, shown);
    const keys = new Set(inSight.map(({ key }) => key));
    for (const [key, { row }] of rows) {
      if (keys.has(key)) continue;
      row.remove();
      sight.unobserve(row);
      rows.delete(key);
    }
    by<HTMLElement>("#none").hidden = wanted.length > 0;
    for (const [i, lock] of inSight.entries()) {
      let target = rows.get(lock.key);
      if (!target) {
        target = newRow(lock.key);
        rows.set(lock.key, target);
      }
      if (target.inSight) fillRow(target, lock, now);
      if (body.children[i] !== target.row) body.insertBefore(target.row, body.children[i] ?? null);
    }
    setText(by("#more"), wanted.length > shown ? `${wanted.length - shown} more` : "");
    drawOne(now);
  }

  function fillList(list: Element, texts: string[]): void {
    while (list.children.length > texts.length) list.lastElementChild?.remove();
    texts.forEach((text, i) => {
      const item = list.children[i] ?? list.appendChild(document.createElement("li"));
      setText(item, text);
    });
  }

  function drawOne(now: number): void {
    by<HTMLElement>("#one").hidden = chosen === undefined;
    by<HTMLElement>("#hint").hidden = chosen !== undefined;
    if (chosen === undefined) return;
    const lock = current();
    const { holders, waiters, limitBy, paused, fence } = lock;
    setText(by("h2"), plain(chosen));
    const facts = [
      stateOf(lock)[1],
      lock.limit === undefined ? "" : `limit ${lock.limit}${limitBy === "operator" ? " (set here)" : ""}`,
      fence === undefined ? "" : `last fencing token ${fence}`,
    ];
    setText(by("#facts"), facts.filter(Boolean).join(" · "));
    setText(by("#pause"), paused ? "Unpause" : "Pause");
    const kind = ({ mode, weight }: Holder | Waiter) =>
      mode === "permit" ? `${weight} of ${lock.limit} permits` : mode;
    fillList(
      by("#holders"),
      holders.map((holder) => {
        const since = holder.since === undefined ? "" : `for ${duration(now - holder.since)}`;
        const mark = holder.ended ? "ended by an operator" : holder.kept ? "kept" : "";
        return [nameOf(holder), kind(holder), since, `lease left ${duration(holder.remaining)}`, mark]
          .filter(Boolean)
          .join(" · ");
      }),
    );
    fillList(
      by("#waiters"),
      waiters.map((waiter) =>
        [nameOf(waiter), kind(waiter), `for ${duration(now - waiter.since)}`].join(" · "),
      ),
    );
    drawTimeline(chosen, now);
  }

  function current(): Inspection {
    const free = {
      state: "free",
      limit: undefined,
      limitBy: undefined,
      paused: false,
      fence: undefined,
    } as const;
    return (
      locks.find(({ key }) => key === chosen) ?? { ...free, key: chosen ?? "", holders: [], waiters: [] }
    );
  }

  function shape(name: string, attributes: Record<string, number | string>): Element {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, `${value}`);
    return element;
  }

  /** Holders are bars, and under them the queue's length. */
  function drawTimeline(key: string, now: number): void {
    const { spans, queue } = histories.get(key) ?? { spans: new Map<string, Span>(), queue: [] };
    const svg = by("#timeline");
    const width = svg.clientWidth || 600;
    const start = Math.max(opened, now - longest);
    const x = (at: number) => ((Math.max(at, start) - start) / Math.max(1, now - start)) * width;
    const most = Math.max(1, ...queue.map(({ waiters }) => waiters));
    const bars = [...spans.values()].filter(({ to }) => to >= start);
    const shapes = bars.flatMap(({ name, from, to, kept, lane }) => {
      const [left, wide] = [x(from), Math.max(2, x(to) - x(from))];
      const bar = shape("rect", {
        ...{
          class: kept ? "holder keeps" : "holder",
          x: left,
          width: wide,
          y: 4 + (lane % 5) * 16,
          height: 13,
          rx: 2,
        },
      });
      const title = shape("title", {});
      title.textContent = `${name}, ${duration(to - from)}`;
      bar.append(title);
      return bar;
    });
    const waits = queue.flatMap(({ at, waiters }, i) => {
      const height = (waiters / most) * 50;
      const end = queue[i + 1]?.at ?? now;
      return waiters > 0 && end >= start
        ? shape("rect", {
            class: "waiting",
            x: x(at),
            width: Math.max(1, x(end) - x(at)),
            y: 148 - height,
            height,
          })
        : [];
    });
    svg.setAttribute("viewBox", `0 0 ${width} 150`);
    svg.replaceChildren(...waits, ...shapes);
    const holders = bars.length === 1 ? "1 holder" : `${bars.length} holders`;
    const last = queue.at(-1)?.waiters ?? 0;
    svg.setAttribute("aria-label", `Timeline: ${holders} in ${duration(now - start)}, ${last} waiting now`);
  }

  function remember(now: number): void {
    const before = looked;
    looked = now;
    for (const lock of locks) {
      let history = histories.get(lock.key);
      if (!history) {
        history = { spans: new Map(), queue: [], seen: now };
        histories.set(lock.key, history);
      }
      history.seen = now;
      const { spans, queue } = history;
      const active = [...spans.values()].filter(({ to }) => to === before);
      const taken = new Set(active.map(({ lane }) => lane));
      const times = new Map<string, number>();
      for (const { owner, since, kept, ...holder } of lock.holders.slice(0, 100)) {
        const same = `${owner} ${since} ${kept}`;
        times.set(same, (times.get(same) ?? 0) + 1);
        const id = `${same} ${times.get(same)}`;
        const span = spans.get(id);
        if (span) {
          span.to = now;
          continue;
        }
        let lane = 0;
        while (taken.has(lane)) lane++;
        taken.add(lane);
        const from = kept ? now : Math.min(now, since ?? now);
        spans.set(id, { name: nameOf({ ...holder, owner, since, kept }), from, to: now, kept, lane });
      }
      // Between two looks: whoever is gone ended by the time at which the next one began.
      const began = [...spans.values()].filter(({ from, to }) => to === now && from > before);
      const next = Math.min(now, ...began.map(({ from }) => from));
      for (const span of active) if (span.to === before && began.length > 0) span.to = next;
      if (spans.size > 300) spans.delete(spans.keys().next().value as string);
      if (queue.at(-1)?.waiters !== lock.waiters.length)
        queue.push({ at: now, waiters: lock.waiters.length });
      if (queue.length > 600) queue.shift();
    }
    for (const [key, { queue, seen }] of histories) {
      if (seen < now && queue.at(-1)?.waiters) queue.push({ at: now, waiters: 0 });
      if (seen < now - longest) histories.delete(key);
    }
  }

  async function ask(query: string, init?: RequestInit): Promise<unknown> {
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(`${location.pathname}${query}`, { cache: "no-store", signal, ...init });
    // A proxy's own page, or a login where the session is over.
    const answer = await response.json().catch(() => undefined);
    if (!response.ok || !answer) throw new Error(answer?.error ?? `status ${response.status}, and no data`);
    return answer;
  }

  function nextTask(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve));
  }

  async function poll(): Promise<void> {
    clearTimeout(timer);
    try {
      const seen = (await ask("?data")) as Seen;
      locks = seen.locks;
      // Each step is a task of its own: a frame may come in between.
      await nextTask();
      remember(Date.now());
      await nextTask();
      const perHour = 3_600_000 / pollEvery;
      const cost = [seen.requests, seen.commands].map((count) => (count * perHour).toLocaleString("en"));
      const more = seen.more ? ", and more" : "";
      setText(
        by("#status"),
        `${locks.length} locks${more} · while it is live: ${cost[0]} requests, ${cost[1]} billed commands an hour`,
      );
      draw();
    } catch (error) {
      setText(by("#status"), `Not live: ${(error as Error).message}`);
    }
    // Nobody looks, nothing is asked.
    clearTimeout(timer);
    if (live.checked && !document.hidden) timer = setTimeout(poll, pollEvery);
  }

  function choose(key: string): void {
    chosen = key;
    limit.value = "";
    for (const [each, { row }] of rows) row.ariaCurrent = `${each === key}`;
    drawOne(Date.now());
  }

  function tell(text: string): void {
    setText(by("#told"), text);
  }

  function agreed(question: string): Promise<boolean> {
    setText(by("#question"), plain(question));
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }

  async function steer(change: Record<string, unknown>, question: string, done: (answer: unknown) => string) {
    const key = chosen;
    const before = current().holders.map(who);
    if (key === undefined || !(await agreed(question))) return;
    // An answer takes a while, and those behind are not meant.
    if (change.action === "release" && !current().holders.some((each) => before.includes(who(each))))
      return tell(
        before.length > 0
          ? "Its holders have gone by themselves: nothing was ended."
          : "Nobody held it: nothing was ended.",
      );
    try {
      const headers = { "content-type": "application/json", "x-serverless-lock": "page" };
      const answer = await ask("", { method: "POST", headers, body: JSON.stringify({ ...change, key }) });
      tell(done(answer));
    } catch (error) {
      tell(`Refused: ${(error as Error).message}`);
    }
    await poll();
  }

  function who({ owner, since }: Holder): string {
    return `${since} ${owner}`;
  }

  function ended(answer: unknown): string {
    const { released, freeWithin } = answer as { released: boolean; freeWithin?: number };
    if (!released) return "Nothing was ended.";
    const next = current().paused ? "It is paused: nobody comes in." : "Who waits comes in.";
    return freeWithin
      ? `Ended: free within ${duration(freeWithin)}. ${next}`
      : `Ended: it is free now. ${next}`;
  }

  by("#release").addEventListener("click", () => {
    const { holders, state } = current();
    const left = Math.max(0, ...holders.map(({ kept, remaining }) => (kept ? 0 : (remaining ?? 0))));
    const question =
      state === "foreign"
        ? `Another library holds "${chosen}": only "End now" ends it.`
        : `End "${chosen}"? Its renewal is refused from now on, so it is free within ${duration(left)}. No two work at once.`;
    steer({ action: "release" }, question, ended);
  });
  by("#now").addEventListener("click", () => {
    const question = `End "${chosen}" now? The next gets it at once. Until the holder learns that, two may work.`;
    steer({ action: "release", now: true }, question, ended);
  });
  by("#pause").addEventListener("click", () => {
    const { paused } = current();
    const question = paused
      ? `Let others in to "${chosen}" again?`
      : `Pause "${chosen}"? Who holds it goes on. Nobody new gets in until it is unpaused.`;
    steer({ action: paused ? "unpause" : "pause" }, question, () => (paused ? "Unpaused." : "Paused."));
  });
  by("#set").addEventListener("click", () => {
    const n = Number(limit.value);
    const question = `Let ${n} permits of "${chosen}" be out at once, whatever its callers ask for?`;
    if (limit.value) steer({ action: "limit", limit: n }, question, () => `Limit ${n}.`);
    else limit.focus();
  });
  by("#unset").addEventListener("click", () => {
    const question = `Let each caller's own limit of "${chosen}" count again?`;
    steer({ action: "limit", limit: null }, question, () => "No limit is set here any more.");
  });
  search.addEventListener("input", () => {
    shown = rowsAtOnce;
    draw();
  });
  new IntersectionObserver(([last]) => {
    if (!last?.isIntersecting || shown >= locks.length) return;
    shown += rowsAtOnce;
    draw();
  }).observe(by("#more"));
  live.addEventListener("change", () => {
    clearTimeout(timer);
    if (live.checked) poll();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else if (live.checked) poll();
  });
  poll();
}
