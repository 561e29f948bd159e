import { lockFetch } from "serverless-lock/fetch";
import { idempotent } from "serverless-lock/idempotency";

/**
 * `POST /payments` with an `Idempotency-Key`: a payment is made once. Who sends it again gets the first answer, also
 * while the first is under way, for which it waits. The same key with another payment is a 422.
 */
export const POST = lockFetch(idempotent({ required: true, wait: "10s" }), async (request) => {
  const payment = await request.text();
  const response = await fetch(`${process.env.PROVIDER_URL}/payments`, {
    method: "POST",
    body: payment,
    signal: request.lock.signal,
  });
  // It is not kept: who sends the payment again may have it made then.
  if (!response.ok) return new Response("The provider did not take it", { status: 502 });
  return Response.json({ paid: await response.json() }, { status: 201 });
});
