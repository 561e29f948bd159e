import { lockFetch } from "serverless-lock/fetch";

const pages = () => `${process.env.PROVIDER_URL}/pages`;

/** `GET /catalogue`: any number of readers at once, but none while the catalogue is written. */
export const GET = lockFetch({ key: { key: "catalogue", mode: "shared" }, wait: "10s" }, async (request) => {
  const { signal } = request.lock;
  const [first, second] = await Promise.all([
    fetch(`${pages()}/1`, { signal }),
    fetch(`${pages()}/2`, { signal }),
  ]);
  return Response.json({ first: await first.text(), second: await second.text() });
});

/** `PUT /catalogue`: one writer, which no reader sees at half of its work. Readers that come meanwhile stand behind it. */
export const PUT = lockFetch({ key: "catalogue", wait: "10s" }, async (request) => {
  const edition = await request.text();
  const { signal } = request.lock;
  await fetch(`${pages()}/1`, { method: "PUT", body: edition, signal });
  await fetch(`${pages()}/2`, { method: "PUT", body: edition, signal });
  return new Response(null, { status: 204 });
});
