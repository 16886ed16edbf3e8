/** The command line as a program, for its tests. */

import { denoArgs } from "./_helpers.ts";

/** Permissions for everything but `uds run`. */
export const FLAGS: string[] = ["--allow-read", "--allow-write", "--allow-net"];

/** Where the gate wants the coverage of the processes. */
const DIRECTORY = Deno.env.get("UDS_COVERAGE_DIR");
const COVERAGE = DIRECTORY === undefined ? undefined : { DENO_COVERAGE_DIR: DIRECTORY };

/** How a process is started. */
export interface ProcessOptions {
  /** What stands on its standard input; `"open"` leaves that to the test. Nothing by default. */
  input?: Uint8Array<ArrayBuffer> | string | "open";
  /** Variables beside those of this process. */
  env?: Record<string, string>;
  cwd?: string;
}

/** How a process ended. */
export interface Ended {
  code: number;
  stdout: Uint8Array;
  stderr: string;
}

/** What a process has written so far. */
class Output {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #waiting: [text: string, resolve: () => void][] = [];
  readonly ended: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#collect(stream);
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const chunk of stream) {
      this.#chunks.push(chunk);
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

  /** Resolves when a text has been written, or the stream has ended. */
  async until(text: string): Promise<void> {
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#waiting.push([text, resolve]);
        this.#tell();
      }),
      this.ended,
    ]);
  }

  text(): Promise<string> {
    return new Blob(this.#chunks).text();
  }

  bytes(): Promise<Uint8Array> {
    return new Blob(this.#chunks).bytes();
  }
}

/** A process whose output is collected; it is killed, by its own pid, if it outlives the test. */
export class Process implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: ProcessOptions["input"];
  readonly #fed: Promise<void> | undefined;
  #isOver = false;
  readonly stdout: Output;
  readonly stderr: Output;
  /** How it ended. */
  readonly ended: Promise<Ended>;

  constructor(
    [command, ...args]: readonly string[],
    { input, env, ...options }: ProcessOptions = {},
  ) {
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
      // One that does not read all of it has said why.
      this.#fed = new Blob([input]).stream().pipeTo(this.#child.stdin).catch(() => {});
    }
    this.stdout = new Output(this.#child.stdout);
    this.stderr = new Output(this.#child.stderr);
    this.ended = this.#end();
  }

  async #end(): Promise<Ended> {
    const { code } = await this.#child.status;
    this.#isOver = true;
    await Promise.all([this.stdout.ended, this.stderr.ended, this.#fed]);
    return { code, stdout: await this.stdout.bytes(), stderr: await this.stderr.text() };
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Writes to its standard input, which is open. */
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
    if (!this.#isOver) this.#child.kill("SIGKILL");
    await this.ended;
    if (this.#input === "open") await this.endInput();
  }
}

/** The command, with its arguments, that runs the command line. */
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

/** A command line for `script`, which runs a command on a terminal of its own. */
export function onTerminal(command: readonly string[]): string[] {
  const line = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  // A shell between, which is /bin/sh where SHELL is not set, might end of Ctrl-C itself.
  return ["script", "--quiet", "--return", "--command", `exec ${line}`, "/dev/null"];
}
