/**
 * Runs a contender: starts its two ends in fresh processes, and checks their reports.
 *
 * - A program is started as `program server VARIANT PATH SIZE WARM COUNT`, and prints `ready` when
 *   it listens. Then it is started again with `client`. A program that is alone is started with
 *   `parent`.
 * - Each end prints one line of JSON when it is done. Both count the items and bytes of both
 *   passes, and both counts must be exact. The driving end measures the time.
 */

import { join } from "@std/path/posix";
import { type Contender, type Load, loadOf, type Outcome, type Subject } from "./subject.ts";
import type { Toolbox } from "./toolbox.ts";

/** The output of a program. */
interface Report extends Partial<Outcome> {
  items: number;
  bytes: number;
}

/** Only a run that hangs takes longer. */
const TIMEOUT_MS = 120_000;

let runs = 0;

/**
 * Runs a contender once.
 *
 * @throws {Error} if a program fails, hangs, or does not count exactly what it had to do.
 */
export async function run(
  tools: Toolbox,
  subject: Subject,
  contender: Contender,
  scale: number,
): Promise<number> {
  const load = loadOf(subject, contender, scale);
  const path = join(tools.directory, `${++runs}.sock`);
  const args = [
    contender.variant ?? "-",
    path,
    ...[load.size, load.warm, load.count].map(String),
  ];
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const reports: Report[] = [];
  if (contender.alone) {
    await using parent = await start(tools, contender.program, ["parent", ...args], deadline);
    reports.push(await parent.report());
  } else {
    await using server = await start(tools, contender.program, ["server", ...args], deadline);
    await server.ready();
    const program = contender.client ?? contender.program;
    await using client = await start(tools, program, ["client", ...args], deadline);
    reports.push(await client.report(), await server.report());
  }
  for (const report of reports) check(report, load);
  const outcome = Object.assign({}, ...reports) as Partial<Outcome>;
  if (outcome.seconds === undefined) throw new Error("neither end reported the time");
  return subject.value(outcome as Outcome, load);
}

/** Throws unless the counts are exact. */
export function check(report: { items: number; bytes: number }, load: Load): void {
  const items = load.warm + load.count;
  const bytes = items * load.size;
  if (report.items !== items) throw new Error(`${report.items} items instead of ${items}`);
  if (report.bytes !== bytes) throw new Error(`${report.bytes} bytes instead of ${bytes}`);
}

async function start(
  tools: Toolbox,
  program: string,
  args: string[],
  signal: AbortSignal,
): Promise<Running> {
  const [command, rest] = await tools.command(program, args);
  return new Running(program, command, rest, signal);
}

/** A running program. */
class Running implements AsyncDisposable {
  readonly #program: string;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(program: string, command: string, args: string[], signal: AbortSignal) {
    this.#program = program;
    this.#child = new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
      signal,
    }).spawn();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Waits for the line that reports that it listens. */
  async ready(): Promise<void> {
    while (!this.#text.includes("ready\n")) {
      if (!await this.#more()) throw await this.#failed("it ended before it was ready");
    }
  }

  /** Waits for its end, and returns its report. */
  async report(): Promise<Report> {
    while (await this.#more());
    const { success } = await this.#child.status;
    const line = this.#text.trim().split("\n").at(-1) ?? "";
    if (!success || !line.startsWith("{")) throw await this.#failed("it ended without a report");
    return JSON.parse(line);
  }

  async #more(): Promise<boolean> {
    const { value, done } = await this.#output.read();
    this.#text += value ?? "";
    return !done;
  }

  async #failed(what: string): Promise<Error> {
    const { code, signal } = await this.#child.status;
    return new Error(`${this.#program}: ${what} (exit code ${code}, signal ${signal})`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // The program has ended.
    }
    await this.#child.status;
    await this.#output.cancel();
  }
}
