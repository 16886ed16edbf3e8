/** Helpers that the tests of `sandbox` share. */

import { type Child, pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { decode, encode, readAll, ROOT, TempDir } from "../_helpers.ts";
import { attempts, type Targets } from "../fixtures/sandbox/attempts.ts";

export const FIXTURES: string = `${ROOT}tests/fixtures/sandbox`;

/** Returns the URL of a module of the fixtures. */
export function moduleOf(name: string): URL {
  return new URL(`../fixtures/sandbox/${name}`, import.meta.url);
}

/**
 * Writes files and links (`a -> b`) into a directory, with their directories. Returns the URL of
 * the first.
 */
export async function write(dir: TempDir, files: Record<string, string>): Promise<URL> {
  for (const [name, text] of Object.entries(files)) {
    const path = dir.file(name);
    const [file, link] = path.split(" -> ");
    await Deno.mkdir(file!.slice(0, file!.lastIndexOf("/")), { recursive: true });
    if (link === undefined) await Deno.writeTextFile(path, text);
    else await Deno.symlink(link, file!);
  }
  return new URL(`file://${dir.file(Object.keys(files)[0] as string)}`);
}

/** Returns a module that sends the value of an expression as JSON. */
export function saying(expression: string, before = ""): string {
  return `import fs from "node:fs";\n${before}\nfs.writeSync(3, JSON.stringify(${expression}));\n`;
}

/** Returns all that a module sends, after it has ended. */
export async function said(url: URL, options: PairOptions = {}): Promise<string> {
  await using child = await pair(url, options);
  const text = decode(await readAll(child.conn));
  await child.status;
  return text;
}

/** Returns all that a module sends, parsed as JSON. */
export async function saidJson(url: URL, options: PairOptions = {}): Promise<unknown> {
  const text = await said(url, options);
  assert(text !== "", "the module said nothing");
  return JSON.parse(text);
}

/** Returns what a module answers to one message. */
export async function answer(child: Child, message: string): Promise<string> {
  await child.conn.write(encode(message));
  await child.conn.closeWrite();
  return decode(await readAll(child.conn));
}

/** Returns the child processes of this process on Linux, and none elsewhere. */
export function children(): string[] {
  if (Deno.build.os !== "linux") return [];
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) =>
    Deno.readTextFileSync(`/proc/self/task/${name}/children`).split(" ").filter((pid) => pid !== "")
  );
}

/** Asserts that a start rejects, and leaves no process. */
export async function assertRefused<E extends Error>(
  start: () => Promise<Child>,
  // deno-lint-ignore no-explicit-any
  Class: new (...args: any[]) => E,
  message: string,
): Promise<E> {
  const before = children();
  const error = await assertRejects(
    async () => {
      await using _child = await start();
    },
    Class,
    message,
  );
  assertEquals(children(), before);
  return error;
}

/** All unstable features, so that nothing is refused for that alone. */
export const UNSTABLE: string[] = [
  "bundle",
  "cron",
  "ffi",
  "kv",
  "net",
  "raw-imports",
  "sloppy-imports",
  "vsock",
  "webgpu",
  "worker-options",
];

export const STOLEN = "TOP-SECRET";

/** A hostile module in its own directory, with its targets beside it: secrets and servers. */
export class Hostile implements AsyncDisposable {
  readonly dir: TempDir = new TempDir();
  readonly targets: Targets;
  readonly #listeners: [Deno.TcpListener, Deno.UnixListener];
  readonly #accepting: Promise<unknown>;
  /** The number of connections to the servers. */
  connections = 0;

  constructor() {
    const directory = this.dir.file("secrets");
    Deno.mkdirSync(directory);
    const socket = `${directory}/s.sock`;
    const tcp = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    this.#listeners = [tcp, Deno.listen({ transport: "unix", path: socket })];
    this.#accepting = Promise.all(this.#listeners.map(async (listener) => {
      for await (const conn of listener) {
        this.connections++;
        conn.close();
      }
    }));
    this.targets = {
      secret: `${directory}/secret.txt`,
      json: `${directory}/secret.json`,
      script: `${directory}/secret.js`,
      absent: `${directory}/absent`,
      directory,
      port: tcp.addr.port,
      socket,
    };
  }

  /** Writes all files. Returns the URL of the module. */
  async prepare(): Promise<URL> {
    await write(this.dir, {
      "secrets/secret.txt": `SECRET=${STOLEN}\n`,
      "secrets/secret.json": JSON.stringify({ secret: STOLEN }),
      "secrets/secret.js": `globalThis.postMessage?.("${STOLEN}"); export const secret = 1;`,
      "pair_echo.ts": `export default "${STOLEN}";`,
    });
    return await write(this.dir, {
      "own/hostile.ts": await Deno.readTextFile(moduleOf("hostile.ts")),
      "own/attempts.ts": await Deno.readTextFile(moduleOf("attempts.ts")),
      "own/deno.json": JSON.stringify({ unstable: UNSTABLE }),
    });
  }

  /** Asserts that all files are unchanged, and that nothing has connected. */
  async assertUntouched(): Promise<void> {
    assertEquals(this.dir.list(), ["own", "pair_echo.ts", "secrets"]);
    const names = (name: string) => [...Deno.readDirSync(this.dir.file(name))].map((e) => e.name);
    assertEquals(names("own").sort(), ["attempts.ts", "deno.json", "hostile.ts"]);
    assertEquals(names("secrets").sort(), ["s.sock", "secret.js", "secret.json", "secret.txt"]);
    assertEquals(await Deno.readTextFile(this.targets.secret), `SECRET=${STOLEN}\n`);
    assertEquals(this.connections, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    await this.#accepting;
    await this.dir[Symbol.asyncDispose]();
  }
}

/** The outcome of each attempt, by the beginning of its name. The last match counts. */
export const REFUSALS: [name: string, outcome: RegExp][] = [
  ["", /^NotCapable: /],
  ["read XMLHttpRequest", /is not a constructor/],
  ["read process.binding fs", /is not a function/],
  ["read node:fs watchFile", /not seen/],
  ["read sqlite ATTACH", /too many attached databases - max 0/],
  ["read sqlite readfile", /no such function/],
  ["read op_", /Cannot read properties of undefined/],
  ["read Deno.openKv", /is not a function/],
  ["import", /^(TypeError|NotCapable): Requires read access/],
  ["import npm:", /--cached-only is specified/],
  ["import jsr:", /--cached-only is specified/],
  ["import http", /--cached-only is specified/],
  ["import Module.register", /is not a function/],
  ["import Module.registerHooks", /^NotCapable: Requires read access/],
  ["import ShadowRealm", /is not a constructor/],
  ["worker", /^NotCapable: Cannot start a worker: /],
  ["write process.report", /nothing written/],
  ["write sqlite ATTACH", /too many attached databases - max 0/],
  ["write sqlite VACUUM INTO", /too many attached databases - max 0/],
  ["write sqlite temp_store_directory", /ignored/],
  ["net EventSource", /^Error: refused/],
  ["net node:dns", /EPERM|UNKNOWN/],
  ["net node:net by name", /EPERM/],
  ["ffi op_", /Cannot read properties of undefined/],
  ["bundle", /is not a function/],
  ["ask", /^Error: (denied|null|false|undefined|end of file)$/],
  ["fd", /EBADF|Bad file descriptor|end of file|EINVAL/],
  ["fd take over the files that Deno has open", /process.binding is not a function/],
];

export const NAMES: string[] = Object.keys(attempts({} as Targets));

/** Asserts that an attempt was refused as expected, and stole nothing. */
export function assertOutcome(name: string, outcome: string | undefined): void {
  const [, expected] = REFUSALS.findLast(([start]) => name.startsWith(start)) as [string, RegExp];
  assert(outcome !== undefined, "it was not tried");
  assert(!outcome.includes(STOLEN), outcome);
  assertMatch(outcome, expected);
}

export const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;
