/**
 * Runs a contender: starts its two ends in fresh processes, and checks their reports.
 *
 * - A program is started as `program server WORDS PATH SIZE WARM COUNT`, and prints `ready` when
 *   it listens. Then it is started again with `client`. A program that is alone is started with
 *   `parent`.
 * - Each end prints one line of JSON when it is done. Both count the items and bytes of both
 *   passes, and both counts must be exact. The driving end measures the time.
 */

import { join } from "@std/path/posix";
import { type Contender, type Load, loadOf, type Outcome, type Subject } from "./subject.ts";
import type { Tools } from "./tools.ts";

/** How long a run may take, unless its contender is known to take longer. */
const LIMIT_MS = 20_000;

let runs = 0;

/**
 * Runs a contender once. Returns the figures of both ends.
 *
 * @throws {Error} if a program fails, hangs, or does not count exactly what it had to do.
 */
export async function run(
  tools: Tools,
  subject: Subject,
  contender: Contender,
  scale: number,
  limitMs: number = contender.limitMs ?? LIMIT_MS,
): Promise<Outcome> {
  const { program, client = program, relay, alone } = contender;
  const load = loadOf(subject, contender, scale);
  const front = join(tools.directory, `${++runs}.sock`);
  const back = relay === undefined ? front : join(tools.directory, `${runs}.back`);
  const numbers = [load.size, load.warm, load.count].map(String);
  const limit = AbortSignal.timeout(limitMs);
  await using stack = new AsyncDisposableStack();
  const start = async (program: string, role: string, path: string) => {
    const [file, ...words] = program.split(" ");
    const command = await tools.command(file!, [role, words.join(" "), path, ...numbers]);
    return stack.use(new Running(program, command, limit));
  };
  const reports: Outcome[] = [];
  if (alone) {
    reports.push(await (await start(program, "parent", front)).report());
  } else {
    const server = await start(program, "server", back);
    await server.ready();
    if (relay !== undefined) {
      const command = await tools.relay(relay, front, back);
      await stack.use(new Running(relay, command, limit)).listening(front);
    }
    reports.push(await (await start(client, "client", front)).report(), await server.report());
  }
  for (const report of reports) check(report, load);
  const outcome: Outcome = Object.assign({}, ...reports);
  if (outcome["seconds"] === undefined) throw new Error("neither end reported the time");
  return outcome;
}

/** Throws unless the counts are exact. */
export function check(report: Outcome, { size, warm, count }: Load): void {
  const { items, bytes } = report;
  const expected = (warm + count) * size;
  if (items !== warm + count) throw new Error(`${items} items instead of ${warm + count}`);
  if (bytes !== expected) throw new Error(`${bytes} bytes instead of ${expected}`);
}

/** A running program, which is killed at the limit of its run. */
class Running implements AsyncDisposable {
  readonly #program: string;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #errors: ReadableStreamDefaultReader<string>;
  #late = "";
  #text = "";

  constructor(program: string, [command, ...args]: string[], limit: AbortSignal) {
    this.#program = program;
    this.#child = new Deno.Command(command!, {
      ...{ args, stdin: "null", stdout: "piped", stderr: "piped", env: { NO_COLOR: "1" } },
    }).spawn();
    const { stdout, stderr } = this.#child;
    this.#output = stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#errors = stderr.pipeThrough(new TextDecoderStream()).getReader();
    limit.addEventListener("abort", () => {
      this.#late = " in time";
      this.#end();
    });
  }

  /** Waits for the line that reports that it listens. */
  async ready(): Promise<void> {
    while (!this.#text.includes("ready\n")) {
      if (!await this.#more()) throw await this.#failed("was not ready");
    }
  }

  /** Waits until a program without such a line listens. It may have renamed its socket. */
  async listening(path: string): Promise<void> {
    const socket = new RegExp(` 00010000 .* ${RegExp.escape(path)}`);
    const listens = async () =>
      socket.test(await Deno.readTextFile("/proc/net/unix")) &&
      await Deno.stat(path).then(() => true, () => false);
    while (!await listens()) {
      if (this.#late) throw await this.#failed("did not listen");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Waits for its end, and returns its report. */
  async report(): Promise<Outcome> {
    while (await this.#more());
    const { success } = await this.#child.status;
    const line = this.#text.trim().split("\n").at(-1) ?? "";
    if (!success || !line.startsWith("{")) throw await this.#failed("did not report");
    return JSON.parse(line);
  }

  async #more(): Promise<boolean> {
    const { value, done } = await this.#output.read();
    this.#text += value ?? "";
    return !done;
  }

  /** Returns an error with the first line about an error that the program has written. */
  async #failed(what: string): Promise<Error> {
    const { code, signal } = await this.#child.status;
    const { value = "" } = await this.#errors.read();
    const error = value.split("\n").find((line) => /error/i.test(line)) ?? value.split("\n")[0];
    const end = signal === null ? `exit code ${code}` : signal;
    return new Error(`${this.#program} ${what}${this.#late} (${end})${error && `: ${error}`}`);
  }

  /** Kills it, and stops reading: its children may hold its output open. */
  async #end(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // The program has ended.
    }
    await Promise.all([this.#output.cancel(), this.#errors.cancel()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await this.#child.status;
  }
}
