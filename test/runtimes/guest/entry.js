// The handler that every runtime serves: what `lockFetch` of an adapter wraps.
import { scenario } from "./scenario.js";

export const options = { key: (request) => new URL(request.url).searchParams.get("key"), owner: "the entry" };

/**
 * Answers with the scenario's reports, a line each; asked for "endless", with a line and a body that never ends.
 * The lock of the request is kept for as long as the body is open.
 *
 * @param {Record<string, string>} env
 */
export function answer(request, env) {
  const { searchParams } = new URL(request.url);
  const world = {
    url: env.UPSTASH_REDIS_REST_URL,
    token: env.UPSTASH_REDIS_REST_TOKEN,
    closed: searchParams.get("closed"),
    key: searchParams.get("key"),
  };
  return new Response(lines(searchParams.has("endless") ? endless() : scenario(world)));
}

async function* endless() {
  for (;;) {
    yield "open";
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function lines(items) {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await items.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
    },
  });
}
