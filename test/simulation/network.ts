import type { Command, RedisClient } from "../../src/redis/client.ts";
import { forever } from "../../src/runtime.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Random } from "./random.ts";
import type { Server } from "./server.ts";
import type { Tally } from "./tally.ts";
import type { Timeline } from "./timeline.ts";

/** How likely each fault is, for one request, reply, message or stream. */
export interface Faults {
  /** A request that is never executed. */
  loseRequest: number;
  /** A reply that never comes back. */
  loseReply: number;
  /** A request or a message that arrives once more, up to some seconds later. */
  repeat: number;
  /** A request, reply or message that takes up to some seconds. */
  delay: number;
  /** A published message that never arrives. */
  loseMessage: number;
  /** A stream that breaks, or is refused. */
  breakStream: number;
}

interface Subscription {
  process: SimulatedProcess;
  channel: string;
  hear: (message: string) => void;
}

/** What lies between the processes and the server. */
export class Network {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #server: Server;
  readonly #faults: Faults;
  readonly #tally: Tally;
  readonly #subscriptions = new Set<Subscription>();
  /** When the weather clears: from then on nothing gets lost or late. */
  clearsAt = Number.POSITIVE_INFINITY;
  /** How many ms a request, reply or message takes on its way: from the first up to, but not, the second. */
  latency: [number, number] = [1, 40];

  constructor(timeline: Timeline, random: Random, server: Server, faults: Faults, tally: Tally) {
    this.#timeline = timeline;
    this.#random = random;
    this.#server = server;
    this.#faults = faults;
    this.#tally = tally;
    server.onPublish = (channel, message) => this.#publish(channel, message);
    // Some servers take the dead for listeners, and those that listen elsewhere for none.
    const [blind, late] = [random.chance(0.2), random.chance(0.5)];
    server.listening = () => {
      const heard = [...this.#subscriptions].filter(({ process }) => !blind && (late || !process.gone));
      return new Set(heard.map(({ channel }) => channel));
    };
  }

  /** Streams that a living process still listens to. */
  get open(): number {
    return [...this.#subscriptions].filter(({ process }) => !process.gone).length;
  }

  /** @param resends as an `@upstash/redis` instance does, which may also make up a nil, and heeds no signal */
  clientOf(process: SimulatedProcess, resends: boolean): RedisClient {
    const listen: RedisClient["listen"] = (...about) => this.#listen(process, ...about);
    if (!resends)
      return {
        exact: true,
        resendsAfter: forever,
        send: (commands, signal) => this.#request(process, commands, signal),
        listen,
      };
    return {
      exact: false,
      resendsAfter: 50,
      send: async (commands) => {
        const replies: unknown[] = [];
        for (const command of commands) replies.push(await this.#resend(process, command));
        return replies;
      },
      listen,
    };
  }

  async #resend(process: SimulatedProcess, command: Command): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      try {
        const [reply] = await this.#request(process, [command]);
        return reply;
      } catch (error) {
        if (this.#server.refused(error) || tries === 3) throw error;
        if (this.#random.chance(0.2)) return null;
        await new Promise<void>((resolve) => process.runtime.later(resolve, 50 * tries));
      }
    }
  }

  #request(
    process: SimulatedProcess,
    commands: readonly Command[],
    signal?: AbortSignal,
  ): Promise<unknown[]> {
    const { loseRequest, loseReply, repeat } = this.#faults;
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(new Error("aborted")));
      // Of half of all that gets lost, nothing is ever heard.
      const lose = (after: number) => {
        if (!this.#random.chance(0.5)) return;
        this.#timeline.schedule(after, () => reject(new Error("connection reset")), process);
      };
      const arrival = this.#latency();
      if (this.#strikes("lostRequests", loseRequest) || !process.online) return lose(arrival);
      const execute = () => Promise.all(commands.map((command) => this.#server.execute(command)));
      const lost = this.#strikes("lostReplies", loseReply);
      this.#timeline.schedule(arrival, async () => {
        const replies = await execute();
        const back = this.#latency();
        if (lost || !process.online) return lose(back);
        const settle = () => {
          const results: unknown[] = [];
          for (const reply of replies) {
            if ("error" in reply) return reject(reply.error);
            results.push(reply.result);
          }
          resolve(results);
        };
        this.#timeline.schedule(back, settle, process);
      });
      if (this.#strikes("repetitions", repeat))
        this.#timeline.schedule(arrival + this.#random.between(1, 6000), execute);
    });
  }

  async #listen(
    process: SimulatedProcess,
    channel: string,
    hear: (message: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { breakStream } = this.#faults;
    const subscription = { process, channel, hear };
    let over = false;
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener("abort", () => resolve());
      const end = (why: string) => () => reject(new Error(why));
      if (this.#strikes("brokenStreams", breakStream) || !process.online)
        return void this.#timeline.schedule(this.#latency(), end("refused"), process);
      this.#timeline.schedule(this.#latency(), () => {
        if (over) return;
        this.#subscriptions.add(subscription);
        this.#timeline.schedule(this.#latency(), () => hear(""), process);
      });
      if (this.#strikes("brokenStreams", breakStream)) {
        // The server may notice before the listener does, or after.
        const [here, there] = [this.#random.between(100, 5000), this.#random.between(100, 5000)];
        this.#timeline.schedule(there, () => this.#subscriptions.delete(subscription));
        this.#timeline.schedule(here, end("stream ended"), process);
      }
    }).finally(() => {
      over = true;
      this.#subscriptions.delete(subscription);
    });
  }

  #publish(channel: string, message: string): void {
    this.#server.log?.(`a message: ${message}`);
    for (const { process, channel: heard, hear } of this.#subscriptions) {
      if (heard !== channel || !process.online) continue;
      if (this.#strikes("lostMessages", this.#faults.loseMessage)) continue;
      const deliver = () => hear(message);
      this.#timeline.schedule(this.#latency(), deliver, process);
      if (this.#strikes("repetitions", this.#faults.repeat))
        this.#timeline.schedule(this.#latency() + 500, deliver, process);
    }
  }

  #strikes(
    fault: "lostRequests" | "lostReplies" | "repetitions" | "brokenStreams" | "lostMessages",
    chance: number,
  ) {
    const strikes = this.#random.chance(chance) && this.#timeline.now < this.clearsAt;
    if (strikes) this.#tally.count(fault);
    return strikes;
  }

  #latency(): number {
    if (!this.#random.chance(this.#faults.delay) || this.#timeline.now >= this.clearsAt)
      return this.#random.between(...this.latency);
    this.#tally.count("delays");
    // Half of it within a request's limit.
    return this.#random.between(100, this.#random.chance(0.5) ? 1000 : 8000);
  }
}
