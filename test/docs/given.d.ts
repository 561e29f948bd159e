// What blocks of README and docs take for granted: the reader's own functions and values.
import type { Locker } from "serverless-lock";

declare global {
  const locker: Locker;
  const charge: (order: unknown, signal?: AbortSignal) => Promise<{ charged: boolean }>;
  const ship: (order: unknown, signal?: AbortSignal) => Promise<void>;
  const invoice: (order: unknown, signal?: AbortSignal) => Promise<void>;
  const buildReport: (signal?: AbortSignal) => Promise<string>;
  const exportAll: (signal?: AbortSignal) => Promise<void>;
  const ask: (prompt: unknown, options?: { signal: AbortSignal } | AbortSignal) => Promise<string>;
  const send: (mail: unknown) => Promise<void>;
  const read: () => Promise<string>;
  const rebuild: () => Promise<void>;
  const publish: (view: string) => Promise<void>;
  const transfer: (from: string, to: string, amount: number) => Promise<void>;
  const withdraw: (account: string, amount: number) => Promise<void>;
  const deposit: (account: string, amount: number) => Promise<void>;
  const work: () => Promise<void>;
  const queue: { send(message: string): Promise<void> };
  const powertools: { addMetric(name: string, unit: string, value: number): unknown };
  const logger: { warn(text: string, about: object): void };
  const app: { all(path: string, handler: (c: { req: { raw: Request } }) => unknown): unknown };
  const sessionOf: (request: Request) => Promise<{ isStaff: boolean; isOnCall: boolean } | undefined>;
  const metrics: { record(name: string, value: number): void };
  const refreshToken: (account: number, signal: AbortSignal) => Promise<{ token: string }>;
  const accountOf: (request: Request) => string;
  const postgres: import("pg").Client;
  const dynamo: import("@aws-sdk/lib-dynamodb").DynamoDBDocumentClient;
  const redis: import("@upstash/redis").Redis;
  const save: (lock: { fence: number | undefined }, value: unknown) => Promise<unknown>;
  const load: () => Promise<unknown>;
  const TableName: string;
  const id: string;
  const order: string;
  const mail: { to: string };
  const message: string;
  const secret: string;
  const redisUrl: string;
  const [from, to]: [string, string];
  const amount: number;
}
