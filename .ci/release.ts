// Whether a tag may be released: node .ci/release.ts v0.2.0. Says what is wrong, each on a line, and ends with 1.
import { readFileSync } from "node:fs";

const [tag] = process.argv.slice(2);
const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
const { version, repository, homepage } = JSON.parse(read("package.json"));

const wrong: string[] = [];
if (tag !== `v${version}`) wrong.push(`The tag is ${tag}, and package.json has ${version}.`);
if (JSON.parse(read("package-lock.json")).version !== version)
  wrong.push(`package-lock.json has another version than ${version}.`);
const [, date = ""] =
  new RegExp(`^## ${version.replaceAll(".", "\\.")} \\((.*)\\)$`, "m").exec(read("CHANGELOG.md")) ?? [];
if (!/^\d{4}-\d\d-\d\d$/.test(date))
  wrong.push(`CHANGELOG.md has no "## ${version} (YYYY-MM-DD)", with the day of the release.`);
for (const [name, address] of Object.entries({ repository: repository?.url, homepage }))
  if (!address || address.includes("OWNER"))
    wrong.push(`package.json does not say who owns the ${name}: ${address}.`);

for (const each of wrong) console.error(each);
if (wrong.length > 0) process.exitCode = 1;
