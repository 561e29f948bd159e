// Newer engines than this machine has, from newer suites of Debian: their packages are unpacked beside each other and
// run with their own libc. The source is derived from the machine's own configuration of apt.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { enginesFolder } from "../helpers/newer-engines.ts";

/** Debian's suites, from old to new. A package is taken from the last one that has it. */
const SUITES = ["trixie", "forky", "sid", "experimental"];
/** The package that holds the server, and the name that it goes by as a server. */
const ENGINES = [
  { package: "redis-tools", binary: "redis" },
  { package: "valkey-tools", binary: "valkey" },
];

/** Unpacks the newest Redis and Valkey, and the oldest Valkey beside it. @returns why it cannot, or undefined. */
export function unpackEngines(): string | undefined {
  const source = debianSource();
  if (source === undefined) return "apt knows no source of Debian here";
  const work = join(enginesFolder, ".apt");
  try {
    const apt = prepare(work, source);
    for (const { package: name, binary } of ENGINES) {
      for (const version of versionsOf(apt, name, binary)) unpack(apt, name, binary, version);
    }
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

interface Source {
  uri: string;
  keyring: string;
}

/** Where the machine has Debian's own packages from. */
function debianSource(): Source | undefined {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  if (!existsSync(keyring)) return undefined;
  const format = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)";
  const targets = run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const line = targets.split("\n").find((target) => target.endsWith("|Debian|Debian|main"));
  const [uri] = line?.split("|") ?? [];
  return uri === undefined ? undefined : { uri, keyring };
}

type Apt = (program: "apt-get" | "apt-cache", ...args: string[]) => string;

/** An apt of one's own, which touches nothing of the machine's. */
function prepare(work: string, { uri, keyring }: Source): Apt {
  rmSync(work, { recursive: true, force: true });
  for (const folder of ["state/lists/partial", "cache/archives/partial", "debs"]) {
    mkdirSync(join(work, folder), { recursive: true });
  }
  writeFileSync(join(work, "status"), "");
  const lines = SUITES.map((suite) => `deb [signed-by=${keyring}] ${uri} ${suite} main\n`);
  writeFileSync(join(work, "sources.list"), lines.join(""));
  const options = {
    "Dir::Etc::sourcelist": join(work, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State": join(work, "state"),
    "Dir::State::status": join(work, "status"),
    "Dir::Cache": join(work, "cache"),
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const apt: Apt = (program, ...args) => run(program, [...flags, "-q", ...args], join(work, "debs"));
  apt("apt-get", "update");
  return apt;
}

/** A package's version, and the suite that has it with its libraries. */
interface Version {
  version: string;
  suite: string;
}

function versionsOf(apt: Apt, name: string, binary: string): Version[] {
  const found = apt("apt-cache", "madison", name)
    .split("\n")
    .map((line) => line.split("|").map((part) => part.trim()))
    .flatMap(([, version, where]): Version[] => {
      const suite = SUITES.find((one) => where?.includes(` ${one}/main`));
      return version && suite ? [{ version, suite }] : [];
    });
  const newest = found.toSorted((a, b) => SUITES.indexOf(b.suite) - SUITES.indexOf(a.suite))[0];
  const oldest = found.toSorted((a, b) => SUITES.indexOf(a.suite) - SUITES.indexOf(b.suite))[0];
  return binary === "valkey" ? [newest, oldest].filter((one) => one !== undefined) : newest ? [newest] : [];
}

function unpack(apt: Apt, name: string, binary: string, { version, suite }: Version): void {
  // Without Debian's own marks: `5:8.6.3-1` is 8.6.3.
  const short = /(?:\d+:)?(\d+(?:\.\d+)+)/.exec(version)?.[1] ?? version;
  const folder = join(enginesFolder, `${binary}-${short}`);
  if (existsSync(join(folder, "server"))) return;
  // Experimental holds little: libraries come from sid.
  const libraries = suite === "experimental" ? "sid" : suite;
  const wanted = librariesOf(apt, `${name}=${version}`).map((library) => `${library}/${libraries}`);
  const debs = join(enginesFolder, ".apt/debs");
  const root = `${folder}.new`;
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  apt("apt-get", "download", `${name}=${version}`, ...wanted);
  for (const deb of readdirSync(debs)) {
    run("dpkg-deb", ["-x", join(debs, deb), root]);
    rmSync(join(debs, deb));
  }
  const lib = readdirSync(join(root, "usr/lib")).find((entry) => entry.endsWith("-linux-gnu")) ?? "";
  const loader = readdirSync(join(root, "usr/lib", lib)).find((entry) => entry.startsWith("ld-linux")) ?? "";
  // One program is both: it goes by its name.
  symlinkSync(`${binary}-check-rdb`, join(root, `usr/bin/${binary}-server`));
  const script = `#!/bin/sh
here=$(dirname "$0")
exec "$here/usr/lib/${lib}/${loader}" --library-path "$here/usr/lib/${lib}" "$here/usr/bin/${binary}-server" "$@"
`;
  writeFileSync(join(root, "server"), script);
  chmodSync(join(root, "server"), 0o755);
  renameSync(root, folder);
}

/** What each package was found to need: to ask takes seconds. */
const needs = new Map<string, string[]>();

/** The libraries that a package needs, and those that they need. */
function librariesOf(apt: Apt, name: string): string[] {
  const found = new Set<string>();
  const look = (one: string) => {
    const direct = needs.get(one) ?? directLibraries(apt("apt-cache", "show", one));
    needs.set(one, direct);
    for (const library of direct.filter((library) => !found.has(library))) {
      found.add(library);
      look(library);
    }
  };
  look(name);
  return [...found];
}

/** Those of the newest version shown. Tables of character sets are no library that a server needs. */
function directLibraries(shown: string): string[] {
  const [depends = ""] = shown.split("\n").filter((line) => /^(Pre-)?Depends:/.test(line));
  return (depends.match(/\blib[\w.+-]+|\bzlib1g\b/g) ?? []).filter((name) => !name.includes("gconv"));
}

function run(program: string, args: string[], cwd?: string): string {
  return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
