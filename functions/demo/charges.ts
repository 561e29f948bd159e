/** One `POST /orders/{id}/charge` and its answer. */
export interface Charge {
  order: string;
  status: number;
  /** Seconds. */
  retryAfter: string | undefined;
  body: string;
  ms: number;
}

export async function charge(http: string, order: string): Promise<Charge> {
  const start = performance.now();
  const response = await fetch(`${http}/orders/${order}/charge`, { method: "POST" });
  const body = await response.text();
  const ms = Math.round(performance.now() - start);
  return {
    order,
    status: response.status,
    retryAfter: response.headers.get("retry-after") ?? undefined,
    body,
    ms,
  };
}

export const gotIn = ({ status }: Charge) => status === 200;

export const turnedAway = ({ status }: Charge) => status === 423;

/** The first charge that neither got in nor was turned away, in words. */
export function failure(charges: Charge[]): string | undefined {
  const failed = charges.find((charge) => !gotIn(charge) && !turnedAway(charge));
  return failed && `the charge of order ${failed.order} answered ${failed.status}: ${failed.body}`;
}
