/**
 * What the tests share: a deadline for each, directories that remove themselves, programs that are
 * ended, and peers that may be missing.
 */

import { basename, fromFileUrl, join } from "@std/path/posix";
import type { Connection } from "@uds/uds";

/** What a test may need, beside a function. */
export interface TestOptions {
  /** Milliseconds that it takes at the most; after {@linkcode PATIENCE} times as many it counts as hanging. 10,000 by default. */
  deadline?: number;
  /** Programs that it talks to: where one is missing the test is skipped, and its name says so. */
  needs?: string[];
  /** Whether it needs to be root. */
  root?: boolean;
  /** The permissions of the test; all by default. */
  permissions?: Deno.PermissionOptions;
}

/** Whether this process may become another user. */
export const IS_ROOT: boolean = Deno.uid() === 0;

/** A machine that is busy with something else takes longer, and nothing hangs. */
const PATIENCE = 3;

/** A test on real sockets, which fails when it hangs. */
export function test(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  options: TestOptions = {},
): void {
  if (belongsTo("together")) register(name, fn, options);
}

/** A test that bounds a time, and needs the machine for itself: the runner starts it when all others have ended. */
export function testAlone(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  options: TestOptions = {},
): void {
  if (belongsTo("alone")) register(name, fn, options);
}

/** Whether the tests of a part are wanted; without the runner all are. */
function belongsTo(part: "together" | "alone"): boolean {
  return (Deno.env.get("UDS_TESTS") ?? part) === part;
}

function register(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  { deadline = 10_000, needs = [], root = false, permissions }: TestOptions,
): void {
  const missing = needs.filter((program) => !isInstalled(program)).map((p) => `${p} is missing`);
  if (root && !IS_ROOT) missing.push("it needs root");
  const required = Deno.env.get("UDS_REQUIRE_PEERS") === "1";
  Deno.test({
    name: missing.length > 0 ? `${name} (${missing.join(", ")})` : name,
    ignore: missing.length > 0 && !required,
    ...(permissions && { permissions }),
    fn: async (t) => {
      if (missing.length > 0) throw new Error(`Cannot run the test: ${missing.join(", ")}`);
      await within(PATIENCE * deadline, fn(t));
    },
  });
}

/** Rejects if something takes longer than some milliseconds. */
export async function within<T>(ms: number, work: Promise<T> | T): Promise<T> {
  let timer;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a program is on the path. */
function isInstalled(program: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((directory) => {
    try {
      return Deno.statSync(join(directory, program)).isFile;
    } catch {
      return false;
    }
  });
}

/** A directory with a short path, which removes itself with all that is in it. */
export class TempDir implements AsyncDisposable {
  readonly path: string;

  constructor(mode?: number) {
    this.path = Deno.makeTempDirSync({ prefix: "uds-" });
    if (mode !== undefined) Deno.chmodSync(this.path, mode);
  }

  /** The path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** The names of what is in it, sorted. */
  list(): string[] {
    return [...Deno.readDirSync(this.path)].map((entry) => entry.name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** How a program is started. */
export interface ProgramOptions {
  /** Its environment, beside ours. */
  env?: Record<string, string>;
  stdin?: "piped" | "null";
  cwd?: string;
}

/** A program that is killed, by its own pid, at the end of the test if it is still there. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #rest: Promise<string>;
  readonly #piped: boolean;
  #ended = false;
  /** How it ended. */
  readonly status: Promise<Deno.CommandStatus>;

  constructor(command: string, args: string[], options: ProgramOptions = {}) {
    this.#piped = options.stdin === "piped";
    this.#child = new Deno.Command(command, {
      args,
      stdin: options.stdin ?? "null",
      stdout: "piped",
      stderr: "piped",
      ...(options.env && { env: options.env }),
      ...(options.cwd && { cwd: options.cwd }),
    }).spawn();
    this.#lines = lines(this.#child.stdout).getReader();
    this.#rest = new Response(this.#child.stderr).text();
    this.status = this.#child.status.then((status) => {
      this.#ended = true;
      return status;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  get stdin(): WritableStream<Uint8Array> {
    return this.#child.stdin;
  }

  /** The next line that it prints; rejects, with what it said on standard error, if there is none. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error(`The program has ended: ${await this.#rest}`);
    return value;
  }

  /** All further lines, when it has ended. */
  async output(): Promise<string[]> {
    const all = [];
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) return all;
      all.push(value);
    }
  }

  /** What it said on standard error, when it has ended. */
  stderr(): Promise<string> {
    return this.#rest;
  }

  kill(signal: Deno.Signal): void {
    if (!this.#ended) this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) {
      this.#child.kill("SIGKILL");
      // A stopped process dies of SIGKILL as well; its pipes are closed then.
    }
    await this.status;
    await this.output();
    this.#lines.releaseLock();
    await this.#rest;
    if (this.#piped && !this.stdin.locked) await this.stdin.close().catch(noop);
  }
}

function noop(): void {}

/** The lines of a byte stream, the last one also without an end. */
function lines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStream<string> {
  let rest = "";
  return stream.pipeThrough(new TextDecoderStream()).pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        const parts = (rest + chunk).split("\n");
        rest = parts.pop() ?? "";
        for (const part of parts) controller.enqueue(part);
      },
      flush(controller) {
        if (rest !== "") controller.enqueue(rest);
      },
    }),
  );
}

/** The root of the project. */
export const ROOT: string = fromFileUrl(new URL("..", import.meta.url));

/** The path of a program of `tests/fixtures`. */
export function fixturePath(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/** The arguments of `deno` that run a program of `tests/fixtures` (or of the project) with flags. */
export function denoArgs(script: string, flags: string[], args: string[] = []): string[] {
  const path = script.includes("/") ? join(ROOT, script) : join(ROOT, "tests/fixtures", script);
  const config = ["--config", join(ROOT, "deno.json"), "--no-lock", "--no-prompt"];
  return ["run", "--quiet", ...config, ...flags, path, ...args];
}

/** A Deno program of `tests/fixtures` that was started, with the flags it is to have. */
export function fixture(
  script: string,
  flags: string[],
  args: string[] = [],
  options: ProgramOptions = {},
): Program {
  return new Program(Deno.execPath(), denoArgs(script, flags, args), options);
}

/** A program's whole output, for one that ends by itself. */
export async function run(
  command: string,
  args: string[],
  input?: Uint8Array | string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = new Deno.Command(command, {
    args,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(typeof input === "string" ? encode(input) : input).catch(noop);
    await writer.close().catch(noop);
  }
  const { code, stdout, stderr } = await output;
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

/** UTF-8 bytes of a text. */
export function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of UTF-8 bytes. */
export function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Everything that comes until the end of file. */
export async function readAll(conn: Pick<Connection, "read">): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    chunks.push(buffer.slice(0, count));
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

/** One read, as text; `null` at the end of file. */
export async function readText(conn: Pick<Connection, "read">): Promise<string | null> {
  const buffer = new Uint8Array(64 * 1024);
  const count = await conn.read(buffer);
  return count === null ? null : decode(buffer.subarray(0, count));
}

/** Bytes that depend on the seed alone (xorshift32). */
export function pseudoRandom(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let x = seed || 1;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** A socket file that nobody listens on, as a killed server leaves it. */
export async function makeStale(path: string): Promise<void> {
  const name = `${path}.${basename(path)}`;
  const listener = Deno.listen({ transport: "unix", path: name });
  // Closing removes the file by the name that it was bound with.
  await Deno.rename(name, path);
  listener.close();
}

/** A listener of Deno's own with a backlog that is full; the connections that fill it are its own. */
export class FullListener implements Disposable {
  readonly listener: Deno.UnixListener;
  readonly #waiting: Deno.UnixConn[] = [];

  private constructor(listener: Deno.UnixListener) {
    this.listener = listener;
  }

  static async open(path: string): Promise<FullListener> {
    const full = new FullListener(Deno.listen({ transport: "unix", path }));
    for (;;) {
      try {
        full.#waiting.push(await Deno.connect({ transport: "unix", path }));
      } catch (error) {
        if (error instanceof Deno.errors.WouldBlock) return full;
        throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    for (const conn of this.#waiting) conn[Symbol.dispose]();
    this.listener.close();
  }
}
