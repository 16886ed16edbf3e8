/** Real programs of a normal user, the relay in front of them, and the rows of what was checked. */

import { connect } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { Process, type ProcessOptions, udsCommand } from "../_cli.ts";
import {
  denoArgs,
  DIES,
  IS_ROOT,
  Program,
  type ProgramOptions,
  run,
  TempDir,
} from "../_helpers.ts";

/** The number of the user "nobody". If root runs the tests, the programs are of this user. */
const NOBODY = 65534;

const USER = IS_ROOT ? [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [];

/**
 * Returns a command of a normal user, whether or not root runs the tests. It is killed when this
 * process ends, so that nothing outlives a test that hangs.
 */
export function asUser(...command: string[]): string[] {
  return [...DIES, ...USER, ...command];
}

/** A temporary directory of the normal user. */
export class UserDir extends TempDir {
  constructor() {
    super(0o700);
    if (IS_ROOT) Deno.chownSync(this.path, NOBODY, NOBODY);
  }
}

/** Runs a program of the normal user to its end, and returns what it printed. */
export async function output(
  command: string[],
  options: ProcessOptions = {},
): Promise<string> {
  await using process = new Process(asUser(...command), options);
  const { code, stdout, stderr } = await process.ended;
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, `${command.join(" ")}: ${stderr}${text}`);
  return text;
}

/** Returns the modules of Debian's Python that are missing, for `needs` of a test. */
export function missingModules(...names: string[]): string[] {
  return names.filter((name) => {
    try {
      return !Deno.statSync(`/usr/lib/python3/dist-packages/${name}`).isDirectory;
    } catch {
      return true;
    }
  });
}

/** How long, in milliseconds, a server may take to listen: a database, on a busy machine. */
const START_MS = 60_000;

/** Starts a server of the normal user, and waits until it listens. */
export async function start(
  command: string[],
  path: string,
  options: ProgramOptions = {},
): Promise<Program> {
  const [program = "", ...args] = asUser(...command);
  const server = new Program(program, args, options);
  await using stack = new AsyncDisposableStack();
  stack.use(server);
  await Promise.race([
    connect({ path, wait: true, timeout: START_MS }).then((conn) => conn.close()),
    server.status.then(async () => {
      throw new Error(`${command.join(" ")} has ended: ${await server.stderr()}`);
    }),
  ]);
  stack.move();
  return server;
}

/** Ends a server by a signal, and waits for it. */
export async function stop(server: Program, signal: Deno.Signal = "SIGTERM"): Promise<void> {
  server.kill(signal);
  await server.status;
}

/** `uds relay`, or another command that relays, of the normal user. */
export class Relay implements AsyncDisposable {
  readonly #process: Process;

  private constructor(process: Process) {
    this.#process = process;
  }

  /** Starts `uds relay …`, and waits until it listens. */
  static async start(...args: string[]): Promise<Relay> {
    return await Relay.run("relay", ...args);
  }

  /** Starts a command of uds, and waits until it listens. */
  static async run(...args: string[]): Promise<Relay> {
    const flags = ["-A"];
    const process = new Process(
      IS_ROOT
        ? [Deno.execPath(), ...denoArgs("relay_as_nobody.ts", flags, args)]
        : udsCommand(args, flags),
    );
    await process.stderr.until("listening on");
    return new Relay(process);
  }

  /** Shuts it down, and checks that it has reported no failure. Returns its standard output. */
  async end(): Promise<string> {
    this.#process.kill("SIGTERM");
    const { code, stdout, stderr } = await this.#process.ended;
    const failures = stderr.split("\n").filter((line) => !/^(listening on .*|ending|)$/.test(line));
    assertEquals([code, failures], [0, []]);
    return new TextDecoder().decode(stdout);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

/** Starts a command of uds as the user of the tests, and waits until it listens. */
export async function startUds(...args: string[]): Promise<Process> {
  const server = new Process(udsCommand(args, ["-A"]));
  await server.stderr.until("listening on");
  return server;
}

/** Ends a command of uds by a signal. Returns its standard output. */
export async function endUds(server: Process): Promise<string> {
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals(code, 0, stderr);
  return new TextDecoder().decode(stdout);
}

/** Returns the version in what a command prints. */
export async function version(...command: string[]): Promise<string> {
  const [program = "", ...args] = command;
  const { stdout, stderr } = await run(program, args);
  const [found] = /\d+(?:\.\d+)+(?:p\d+)?/.exec(stdout + stderr) ?? [];
  if (found === undefined) throw new Error(`${command.join(" ")} prints no version: ${stderr}`);
  return found;
}

/** What was checked with a program. */
export interface Row {
  program: string;
  version: string;
  /** The functions and commands of uds that it was reached by. */
  way: string;
  what: string;
}

/** Prints a row of docs/compatibility.md, and keeps it for `tools/programs.ts`. */
export async function checked(
  program: string,
  versionCommand: string[],
  way: string,
  what: string,
): Promise<void> {
  const row: Row = { program, version: await version(...versionCommand), way, what };
  console.log(`${program} ${row.version} · ${way} · ${what}`);
  const file = Deno.env.get("UDS_PROGRAMS");
  if (file !== undefined) {
    await Deno.writeTextFile(file, `${JSON.stringify(row)}\n`, { append: true });
  }
}
