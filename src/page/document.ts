import { browser } from "./browser.ts";
import { style } from "./style.ts";

/** The page, in one response that loads nothing else. */
export function document(): Response {
  const nonce = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src data:",
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ];
  return new Response(html(nonce), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy.join("; "),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "x-frame-options": "DENY",
    },
  });
}

const html = (nonce: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Locks</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${style}</style>
</head>
<body>
<header>
<h1>Locks</h1>
<label>Search <input id="search" type="search" autocomplete="off" spellcheck="false"></label>
<label><input id="live" type="checkbox" checked> Live</label>
<span id="status">…</span>
</header>
<main>
<section id="locks" aria-label="Locks" tabindex="0">
<table>
<thead><tr><th scope="col">Key</th><th scope="col">State</th><th scope="col">Held by</th><th scope="col">For</th>
<th scope="col">Lease left</th><th scope="col">Waiters</th></tr></thead>
<tbody></tbody>
</table>
<p id="none" class="soft" hidden>No locks.</p>
<p id="more" class="soft"></p>
</section>
<aside aria-label="One lock">
<p id="hint" class="soft">Choose a lock to see who waits for it and what happened to it.</p>
<div id="one" hidden>
<h2></h2>
<p id="facts"></p>
<div class="actions">
<button id="release" type="button">End</button>
<button id="now" type="button">End now</button>
<button id="pause" type="button">Pause</button>
<label>Limit <input id="limit" type="number" min="1" max="100000"></label>
<button id="set" type="button">Set</button>
<button id="unset" type="button">Take back</button>
</div>
<h3>Since this page was opened</h3>
<svg id="timeline" role="img" aria-label="Timeline" preserveAspectRatio="none"></svg>
<h3>Holders</h3>
<ol id="holders"></ol>
<h3>Waiters</h3>
<ol id="waiters" start="0"></ol>
</div>
<p id="told" role="status"></p>
</aside>
</main>
<dialog aria-labelledby="question">
<p id="question"></p>
<form method="dialog"><button value="no">Cancel</button><button value="yes" id="yes">Do it</button></form>
</dialog>
<script nonce="${nonce}">globalThis.__name??=(value)=>value;(${browser})()</script>
</body>
</html>
`;
