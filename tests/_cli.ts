/** Runs the command line as a process, for its tests. */

import { ending, report, running, type RunningProgram } from "./_deadline.ts";
import { COVERAGE, decode, denoArgs, encode, killChild } from "./_helpers.ts";

/** Deno permissions for everything but `uds run`. */
export const FLAGS: string[] = ["--allow-read", "--allow-write", "--allow-net"];

/** Options of a process. */
export interface ProcessOptions {
  /** The content of standard input; `"open"` leaves it open for the test. Empty by default. */
  input?: Uint8Array<ArrayBuffer> | string | "open";
  /** Additional environment variables. */
  env?: Record<string, string>;
  cwd?: string;
}

/** The status and the output of a process that has ended. */
export interface Ended {
  code: number;
  stdout: Uint8Array;
  stderr: string;
}

/** The output of a process so far. */
class Output {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #waiting: [text: string, resolve: () => void][] = [];
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly ended: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.getReader();
    this.ended = this.#collect();
  }

  async #collect(): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) break;
      this.#chunks.push(value);
      if (this.#waiting.length > 0) await this.#tell();
    }
    for (const [, resolve] of this.#waiting) resolve();
  }

  async #tell(): Promise<void> {
    const all = await this.text();
    this.#waiting = this.#waiting.filter(([text, resolve]) => {
      const isThere = all.includes(text);
      if (isThere) resolve();
      return !isThere;
    });
  }

  /** Resolves when the text was printed, or when the stream has ended. */
  async until(text: string): Promise<void> {
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#waiting.push([text, resolve]);
        this.#tell();
      }),
      this.ended,
    ]);
  }

  /** Ends it, although a process may still write. */
  cancel(): Promise<void> {
    return this.#reader.cancel();
  }

  /** The texts that are waited for, as they are in the code. */
  get awaited(): string {
    return this.#waiting.map(([text]) => text).join(", ");
  }

  /** Its last chunks. */
  get last(): string {
    return this.#chunks.slice(-8).map(decode).join("");
  }

  text(): Promise<string> {
    return new Blob(this.#chunks).text();
  }

  bytes(): Promise<Uint8Array> {
    return new Blob(this.#chunks).bytes();
  }
}

/** A process with collected output. If it outlives the test it is killed, by its own pid. */
export class Process implements AsyncDisposable, RunningProgram {
  readonly #command: readonly string[];
  readonly #child: Deno.ChildProcess;
  readonly #input: ProcessOptions["input"];
  readonly #fed: Promise<void> | undefined;
  #isOver = false;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Resolves to its status and output. */
  readonly ended: Promise<Ended>;

  constructor(
    [command, ...args]: readonly string[],
    { input, env, ...options }: ProcessOptions = {},
  ) {
    this.#command = [command!, ...args];
    this.#input = input;
    this.#child = new Deno.Command(command!, {
      args,
      stdin: input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
      env: { ...COVERAGE, ...env },
      ...options,
    }).spawn();
    if (input !== undefined && input !== "open") {
      // A process that does not read all of its input has printed why.
      this.#fed = this.#feed(typeof input === "string" ? encode(input) : input).catch(() => {});
    }
    this.stdout = new Output(this.#child.stdout);
    this.stderr = new Output(this.#child.stderr);
    running.add(this);
    this.ended = this.#end();
  }

  describe(): string {
    const { stdout, stderr } = this;
    return report(this.#command, {
      state: this.#isOver ? "it has exited, another process has its output" : "",
      "waited for in stdout": stdout.awaited,
      stdout: stdout.last,
      "waited for in stderr": stderr.awaited,
      stderr: stderr.last,
    });
  }

  stop(): void {
    if (!this.#isOver) killChild(this.#child, "SIGKILL");
  }

  async #feed(input: Uint8Array): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
  }

  async #end(): Promise<Ended> {
    const { code } = await this.#child.status;
    this.#isOver = true;
    await Promise.all([this.stdout.ended, this.stderr.ended, this.#fed]);
    running.delete(this);
    return { code, stdout: await this.stdout.bytes(), stderr: await this.stderr.text() };
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Writes to its open standard input. */
  async type(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  /** Ends its standard input. */
  async endInput(): Promise<void> {
    await this.#child.stdin.close().catch(() => {});
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    const outputs = [this.stdout, this.stderr];
    await ending(this.ended, () => outputs.map((output) => output.cancel()));
    if (this.#input === "open") await this.endInput();
  }
}

/** Returns the command that runs the command line with some arguments. */
export function udsCommand(args: readonly string[], flags: string[] = FLAGS): string[] {
  return [Deno.execPath(), ...denoArgs("./cli.ts", flags, [...args])];
}

/** Runs the command line to its end. */
export async function uds(
  args: readonly string[],
  { flags, ...options }: ProcessOptions & { flags?: string[] } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  await using process = new Process(udsCommand(args, flags), options);
  const { code, stdout, stderr } = await process.ended;
  return { code, stdout: new TextDecoder().decode(stdout), stderr };
}

/** Returns a command for `script`, which runs another command on a terminal of its own. */
export function onTerminal(command: readonly string[]): string[] {
  const line = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  // `exec`, because a shell in between (/bin/sh without SHELL) might exit at Ctrl-C itself.
  return ["script", "--quiet", "--return", "--command", `exec ${line}`, "/dev/null"];
}
