/**
 * Helpers of all tests: deadlines, temporary directories, programs that are killed at the end of a
 * test, and skips for missing programs.
 */

import { basename, fromFileUrl, join } from "@std/path/posix";
import type { Connection } from "@uds/uds";
import { ending, report, running, type RunningProgram, runWithin } from "./_deadline.ts";

export { within } from "./_deadline.ts";

/** Options of a test. */
export interface TestOptions {
  /**
   * How long, in milliseconds, the test takes at most. It fails as hanging after
   * {@linkcode SLOW_MACHINE_FACTOR} times as long. 10,000 by default.
   */
  deadline?: number;
  /** Programs that the test uses. If one is missing the test is skipped, and its name says so. */
  needs?: string[];
  /** Whether the test needs root. */
  root?: boolean;
  /** The permissions of the test; all by default. */
  permissions?: Deno.PermissionOptions;
}

/** Whether this process may become another user. */
export const IS_ROOT: boolean = Deno.uid() === 0;

/** The variable that makes a Deno program collect coverage, if this process does. */
export const COVERAGE: Record<string, string> = takeCoverage();

/**
 * Takes it out of the environment, because collecting costs time, above all under strace. Only
 * programs that contribute to the coverage get it.
 */
function takeCoverage(): Record<string, string> {
  const directory = Deno.env.get("DENO_COVERAGE_DIR");
  if (directory === undefined) return {};
  Deno.env.delete("DENO_COVERAGE_DIR");
  return { DENO_COVERAGE_DIR: directory };
}

/** A busy machine takes longer, although nothing hangs. */
const SLOW_MACHINE_FACTOR = 3;

/** Defines a test on real sockets, which fails when it hangs. */
export function test(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  options: TestOptions = {},
): void {
  if (belongsTo("together")) register(name, fn, options);
}

/** Defines a test that bounds a time. The runner starts it alone, after all others. */
export function testAlone(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  options: TestOptions = {},
): void {
  if (belongsTo("alone")) register(name, fn, options);
}

/** Reports whether the tests of a part should run. Without the runner all do. */
function belongsTo(part: "together" | "alone"): boolean {
  return (Deno.env.get("UDS_TESTS") ?? part) === part;
}

function register(
  name: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  { deadline = 10_000, needs = [], root = false, permissions }: TestOptions,
): void {
  const missing = needs.filter((program) => !isInstalled(program)).map((p) => `${p} is missing`);
  if (root && !IS_ROOT) missing.push("needs root");
  const required = Deno.env.get("UDS_REQUIRE_PEERS") === "1";
  Deno.test({
    name: missing.length > 0 ? `${name} (${missing.join(", ")})` : name,
    ignore: missing.length > 0 && !required,
    ...(permissions && { permissions }),
    fn: async (t) => {
      if (missing.length > 0) throw new Error(`Cannot run the test: ${missing.join(", ")}`);
      await runWithin(SLOW_MACHINE_FACTOR * deadline, () => fn(t));
    },
  });
}

/** Reports whether a program is on the path. */
function isInstalled(program: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((directory) => {
    try {
      return Deno.statSync(join(directory, program)).isFile;
    } catch {
      return false;
    }
  });
}

/** A temporary directory with a short path. Disposing removes it with its content. */
export class TempDir implements AsyncDisposable {
  readonly path: string;

  constructor(mode?: number) {
    this.path = Deno.makeTempDirSync({ prefix: "uds-" });
    if (mode !== undefined) Deno.chmodSync(this.path, mode);
  }

  /** Returns the path of a file in the directory. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Returns the names in the directory, sorted. */
  list(): string[] {
    return [...Deno.readDirSync(this.path)].map((entry) => entry.name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Options of a program. */
export interface ProgramOptions {
  /** Additional environment variables. */
  env?: Record<string, string>;
  stdin?: "piped" | "null";
  cwd?: string;
}

/** Sends a signal to a child. It may have ended, although its status is not known yet. */
export function killChild(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** A running program. If it outlives the test it is killed, by its own pid. */
export class Program implements AsyncDisposable, RunningProgram {
  readonly #command: string[];
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  /** The last line that was read. */
  #line = "";
  #printed = "";
  readonly #errors: ReadableStreamDefaultReader<string>;
  readonly #rest: Promise<string>;
  readonly #piped: boolean;
  #ended = false;
  /** Resolves to its exit status. */
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
    this.#command = [command, ...args];
    this.#lines = lines(this.#child.stdout).getReader();
    this.#errors = this.#child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#rest = this.#collect();
    this.status = this.#child.status.then((status) => {
      this.#ended = true;
      running.delete(this);
      return status;
    });
    running.add(this);
  }

  async #collect(): Promise<string> {
    for (;;) {
      const { value, done } = await this.#errors.read();
      if (done) return this.#printed;
      this.#printed += value;
    }
  }

  describe(): string {
    return report(this.#command, { "last line": this.#line, stderr: this.#printed });
  }

  stop(): void {
    this.kill("SIGKILL");
  }

  get pid(): number {
    return this.#child.pid;
  }

  get stdin(): WritableStream<Uint8Array> {
    return this.#child.stdin;
  }

  /** Resolves to the next line of its output. At its end it rejects with the standard error. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error(`The program has ended: ${await this.#rest}`);
    return this.#line = value;
  }

  /** Resolves to all further lines, once it has ended. */
  async output(): Promise<string[]> {
    const all = [];
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) return all;
      all.push(value);
    }
  }

  /** Resolves to its standard error, once it has ended. */
  stderr(): Promise<string> {
    return this.#rest;
  }

  kill(signal: Deno.Signal): void {
    if (!this.#ended) killChild(this.#child, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // SIGKILL ends a stopped process, too.
    this.stop();
    await this.status;
    const outputs = [this.#lines, this.#errors];
    await ending(
      Promise.all([this.output(), this.#rest]),
      () => outputs.map((output) => output.cancel()),
    );
    this.#lines.releaseLock();
    if (this.#piped && !this.stdin.locked) await this.stdin.close().catch(noop);
  }
}

function noop(): void {}

/** Returns the lines of a byte stream. The last one needs no line end. */
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

/** The URL of the root of the project, which ends with a slash. */
export const ROOT_URL: string = new URL("..", import.meta.url).href;

/** The path of the root of the project, which ends with a slash. */
export const ROOT: string = fromFileUrl(ROOT_URL);

/** The directory of the examples: this clone, or a project with the package (tools/rehearse.ts). */
export const PROJECT: string = Deno.env.get("UDS_PROJECT") ?? ROOT;

/** Returns the path of a program of `tests/fixtures`. */
export function fixturePath(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/**
 * Returns the arguments of `deno` that run a script of `tests/fixtures`, an example, or another
 * script of this clone.
 */
export function denoArgs(script: string, flags: string[], args: string[] = []): string[] {
  const root = script.startsWith("./examples/") ? PROJECT : ROOT;
  const path = script.includes("/") ? join(root, script) : join(root, "tests/fixtures", script);
  const config = ["--config", join(root, "deno.json"), "--no-lock", "--no-prompt"];
  return ["run", "--quiet", ...config, ...flags, path, ...args];
}

/** Starts a Deno program of `tests/fixtures` with some permission flags. */
export function fixture(
  script: string,
  flags: string[],
  args: string[] = [],
  options: ProgramOptions = {},
): Program {
  const env = { ...COVERAGE, ...options.env };
  return new Program(Deno.execPath(), denoArgs(script, flags, args), { ...options, env });
}

/** Runs a program to its end, and returns its code and output. */
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

/** Encodes a text as UTF-8. */
export function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Decodes UTF-8 bytes. */
export function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Reads until the end of file. */
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

/** Reads once, and returns the text, or `null` at the end of file. */
export async function readText(conn: Pick<Connection, "read">): Promise<string | null> {
  const buffer = new Uint8Array(64 * 1024);
  const count = await conn.read(buffer);
  return count === null ? null : decode(buffer.subarray(0, count));
}

/** Returns bytes that depend on the seed alone (xorshift32). */
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

/** Leaves a stale socket file, as a killed server does. */
export async function makeStale(path: string): Promise<void> {
  const name = `${path}.${basename(path)}`;
  const listener = Deno.listen({ transport: "unix", path: name });
  // Closing removes only the name that was bound.
  await Deno.rename(name, path);
  listener.close();
}

/** A listener of Deno's own with a full backlog. It owns the connections that fill it. */
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

export const KIB = 1024;
export const MIB: number = 1024 * KIB;

/** A prefix of a traced program. It is killed when strace is, which would leave it running. */
export const DIES: string[] = ["setpriv", "--pdeathsig", "KILL"];

/**
 * Returns the options of strace that change some calls of a program, such as `chmod:error=EPERM`.
 * The program stops at these alone, because stopping at each call takes three times as long.
 */
export function changing(...calls: string[]): string[] {
  const names = calls.map((call) => call.split(":")[0]);
  const inject = calls.flatMap((call) => ["-e", `inject=${call}`]);
  // With the filter of seccomp, strace 6.1 sends no signals.
  const filter = calls.some((call) => call.includes(":signal=")) ? [] : ["--seccomp-bpf"];
  return ["-f", "-qq", "-o", "/dev/null", ...filter, "-e", `trace=${names}`, ...inject];
}

/** Waits one turn of the event loop: everything that was ready is handled then. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** A promise that a test settles when it likes. */
export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}

/** Resolves when a connection has read `count` bytes. */
export async function untilRead(conn: Connection, count: number): Promise<void> {
  while (conn.bytesRead < count) await turn();
}

/** The ways in which a peer can leave: what it does before it closes. */
export const LEAVING: Record<string, (peer: Connection) => Promise<unknown>> = {
  "at once": () => Promise.resolve(),
  "with bytes that are not read": (peer) => peer.write(new Uint8Array(1000)),
  "after it has ended its direction": (peer) => peer.closeWrite(),
};

/** Resolves when the kernel takes no more: no write progresses for some turns of the event loop. */
export async function untilFull(conn: Connection): Promise<void> {
  for (let quiet = 0, seen = -1; quiet < 20;) {
    await turn();
    quiet = conn.bytesWritten === seen ? quiet + 1 : 0;
    seen = conn.bytesWritten;
  }
}

/** Reports whether a promise is still pending after some turns of the event loop. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settle = () => void (pending = false);
  promise.then(settle, settle);
  for (let i = 0; i < 5; i++) await turn();
  return pending;
}

/**
 * Returns the number of descriptors that this process has open. Those that Deno opens some time
 * after its start do not count: the files of its caches, two sockets for signals, and what
 * watches files.
 */
export function openDescriptors(): number {
  // Deno opens these now, unless it has done so.
  Deno.watchFs("/dev/null", { recursive: false }).close();
  Deno.addSignalListener("SIGWINCH", noop);
  Deno.removeSignalListener("SIGWINCH", noop);
  return [...Deno.readDirSync("/dev/fd")].filter(({ name }) => {
    try {
      return !/_cache_v\d+(-\w+)?$/.test(Deno.readLinkSync(`/dev/fd/${name}`));
    } catch {
      return true;
    }
  }).length;
}
