import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "vitepress";
import manifest from "../../package.json" with { type: "json" };

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const root = here("../../");
const docs = join(root, "docs");
// Pages have to lie in this folder to find Vue.
const copies = here("../pages");
rmSync(copies, { recursive: true, force: true });
cpSync(docs, copies, { recursive: true, filter: (file) => !file.endsWith(".ts") });
/** Where the repository is, once package.json says so. */
const { repository } = manifest as { repository?: { url: string } };
const repositoryUrl = repository?.url.replace(/^git\+|\.git$/g, "");
const base = process.env.SITE_BASE ?? "/";

const groups: Record<string, string[]> = {
  Start: ["getting-started", "kinds", "lock", "waiting", "options", "errors", "recipes"],
  "Where it runs": [
    ...["middy", "lambda", "aws-lambda", "nextjs", "fetch", "cloudflare", "hono", "schedules", "deploying"],
  ],
  "Beyond the lock": ["single-flight", "idempotency", "fencing", "replicas", "web-locks"],
  "Day by day": [
    "testing",
    "dev-server",
    "operations",
    "admin",
    "observability",
    "costs",
    "compatibility",
    "examples",
    "faq",
  ],
  "From another lock": ["alternatives", "from-upstash-lock", "from-redlock", "from-redis-semaphore"],
  "How it is kept": ["guarantees", "attacks", "protocol", "storm", "simulation", "model", "decisions"],
};

/** Every page is in the sidebar: what no group names is at its end. */
const pages = readdirSync(docs, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".md") && file !== "index.md")
  .map((file) => file.replaceAll("\\", "/").replace(/\.md$/, ""))
  .sort();
const named = Object.values(groups).flat();
const sidebar = Object.entries({ ...groups, Figures: pages.filter((page) => !named.includes(page)) })
  .map(([text, names]) => ({
    text,
    items: names
      .filter((name) => pages.includes(name))
      .map((name) => ({ text: titleOf(name), link: `/${name}` })),
  }))
  .filter(({ items }) => items.length > 0);

type Markdown = Parameters<NonNullable<NonNullable<UserConfig["markdown"]>["config"]>>[0];
type RenderRule = NonNullable<Markdown["renderer"]["rules"][string]>;
type Token = Parameters<RenderRule>[0][number];

export default defineConfig({
  title: "serverless-lock",
  description: manifest.description,
  lang: "en",
  base,
  srcDir: "pages",
  cleanUrls: false,
  head: [["link", { rel: "icon", href: "data:," }]],
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Start", link: "/getting-started" },
      { text: "Recipes", link: "/recipes" },
      { text: "Guarantees", link: "/guarantees" },
      ...(repositoryUrl ? [{ text: "Source", link: repositoryUrl }] : []),
    ],
    sidebar,
  },
  markdown: {
    // Comments in code are to be read, too: of at least 4.5 to 1 against their ground.
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    config(markdown) {
      const fence = markdown.renderer.rules.fence;
      markdown.renderer.rules.fence = (tokens, index, ...rest) => {
        const token = tokens[index];
        if (token?.info.trim() === "mermaid")
          return `<Diagram code="${encodeURIComponent(token.content)}" />`;
        return fence?.(tokens, index, ...rest) ?? "";
      };
      // An empty head of a column is no head.
      const emptyHead =
        (tag: string, offset: number): RenderRule =>
        (tokens, index, options, _env, self) => {
          const token = tokens[index] as Token;
          if (tokens[index + offset]?.content === "") token.tag = tag;
          return self.renderToken(tokens, index, options);
        };
      markdown.renderer.rules.th_open = emptyHead("td", 1);
      markdown.renderer.rules.th_close = emptyHead("td", -1);
      // Tables may be wider than a phone: the keyboard has to get there.
      markdown.renderer.rules.table_open = () => '<table tabindex="0">\n';
      // Files beside docs/ are served as they are.
      markdown.core.ruler.push("files beside docs", ({ tokens }) => {
        for (const child of tokens.flatMap(({ children }) => children ?? [])) {
          const href = child.type === "link_open" ? child.attrGet("href") : null;
          if (href?.startsWith("../")) child.attrSet("href", `${base}${asFile(href.slice(3))}`);
        }
      });
    },
  },
  vite: {
    publicDir: false,
    build: { chunkSizeWarningLimit: 3000 },
    server: { fs: { allow: [root] } },
  },
  // The theme's home page has no main landmark; theme/index.ts gives it to those who come from another page.
  transformHtml: (html) =>
    html.includes("<main") ? html : html.replace('id="VPContent"', 'id="VPContent" role="main"'),
  buildEnd({ outDir }) {
    const write = (file: string, text: string) => {
      mkdirSync(join(outDir, file, ".."), { recursive: true });
      writeFileSync(join(outDir, file), text);
    };
    for (const file of filesBeside()) write(asFile(file), read(join(root, file)));
    // For programs that read: a list of the pages, each page as it was written, and all of them in one.
    const all = ["getting-started", ...pages.filter((page) => page !== "getting-started")];
    for (const page of all) write(`${page}.md`, read(join(docs, `${page}.md`)));
    write("llms.txt", listOf());
    write("llms-full.txt", all.map((page) => read(join(docs, `${page}.md`))).join("\n\n"));
  },
});

function read(file: string): string {
  return readFileSync(file, "utf8");
}

/** A server may take .md for a page, and .ts for a film. */
function asFile(path: string): string {
  return `files/${path}.txt`;
}

function filesBeside(): string[] {
  const links = pages.flatMap((page) => [
    ...read(join(docs, `${page}.md`)).matchAll(/\]\((?:\.\.\/)+([^)#\s]+)/g),
  ]);
  return [...new Set(links.map(([, file = ""]) => file))].filter((file) => existsSync(join(root, file)));
}

function titleOf(page: string): string {
  return /^# (.*)$/m.exec(read(join(docs, `${page}.md`)))?.[1]?.replaceAll("`", "") ?? page;
}

/** As llmstxt.org has it. */
function listOf(): string {
  const sections = sidebar.map(({ text, items }) => {
    const lines = items.map((item) => `- [${item.text}](${base}${item.link.slice(1)}.md)`);
    return `## ${text}\n\n${lines.join("\n")}\n`;
  });
  return `# serverless-lock\n\n> ${manifest.description}\n\n${sections.join("\n")}`;
}
