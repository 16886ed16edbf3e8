/** Reports on standard error what a command does besides its data, for people or as JSON. */

import { andMore, CountedLines, kindOfError } from "../../_internal/base/counted_lines.ts";
import { shortAddress } from "../../_internal/base/shown_address.ts";
import { isSocketError, RpcError, SocketInUse } from "../../errors.ts";
import { exitCodeOf, OK, QuietEnd, UsageError } from "../exit_codes.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { VerboseFlags } from "../parse/options.ts";
import { shownPath } from "../parse/parameters.ts";
import { paint } from "../text/color.ts";
import { commandMessage } from "../text/failure.ts";
import { json, printable, shortened } from "../text/printable.ts";
import { printError } from "./output.ts";

/** The options that decide what is reported. */
type ReporterFlags = CommonFlags & VerboseFlags;

/** Reports what a command does. With `--json`, each report is an object on one line. */
class Reporter {
  readonly #json: boolean;
  readonly #quiet: boolean;
  readonly #verbose: boolean;
  readonly #lines: CountedLines;

  constructor({ json = false, quiet = false, verbose = false }: ReporterFlags) {
    this.#json = json;
    this.#quiet = quiet;
    this.#verbose = verbose;
    this.#lines = new CountedLines({ onlyFirst: quiet });
  }

  /** Writes the lines that are held after {@linkcode report} and {@linkcode sayCounted}. */
  flush(): void {
    this.#lines.flush();
  }

  /** Writes a line, unless `--quiet` is given. */
  say(text: string, data: Record<string, unknown>): void {
    if (!this.#quiet) write(this.#json ? json(data) : printable(text));
  }

  /**
   * Writes a line that each client can cause: at most one a second of a kind. Others are counted.
   */
  sayCounted(kind: string, text: string, data: Record<string, unknown>): void {
    this.#lines.add(kind, (more) => this.say(text + andMore(more), { ...data, ...counted(more) }));
  }

  /**
   * Reports what failed with one client of a server: at most one line a second of a kind. Others
   * are counted. With `--quiet` only the first is written.
   */
  report(error: unknown): void {
    this.#lines.add(kindOfError(error), (more) => void this.fail(error, exitCodeOf(error), more));
  }

  /** Reports a client that left before it had its whole answer, with `--verbose` only. */
  reportLeft(error: unknown): void {
    if (!this.#verbose) return;
    const reason = shortened(commandMessage(firstOf(error)));
    this.sayCounted("left", `a client left: ${reason}`, { event: "left", reason });
  }

  /** Reports that clients can connect now. */
  listening(path: string | null): void {
    this.say(`listening on ${shortAddress(String(path))}`, {
      event: "listening",
      path: shownPath(path),
    });
  }

  /** Reports that a signal asked to stop. */
  ending(): void {
    this.say("ending", { event: "ending" });
  }

  /** Reports a failure, also with `--quiet`. Returns the exit code. */
  fail(error: unknown, code: number = exitCodeOf(error), more: number = 0): number {
    if (error instanceof SuppressedError) {
      // The failure, and another one of the cleanup after it.
      const codes = [this.fail(error.suppressed), this.fail(error.error)];
      return codes.find((each) => each !== OK) ?? OK;
    }
    if (error instanceof QuietEnd) return code;
    this.#writeFailure(error, code, more);
    // The first failure decides the code.
    if (isSocketError(error) && error.cleanupError !== undefined) this.fail(error.cleanupError);
    return code;
  }

  #writeFailure(error: unknown, code: number, more: number): void {
    const message = shortened(commandMessage(error));
    if (this.#json) {
      write(json({ error: describe(error, message), exitCode: code, ...counted(more) }));
      return;
    }
    write(
      `${paint("red", "uds:", Deno.stderr)} ${message.split("\n").map(printable).join("\n")}${
        andMore(more)
      }`,
    );
    if (error instanceof RpcError) {
      write(`code ${error.code}${error.data === undefined ? "" : `, data ${json(error.data)}`}`);
    }
    if (error instanceof UsageError) {
      write(`Try: uds ${error.command === undefined ? "" : `${error.command} `}--help`);
    }
  }
}

/** The reporter of this process. */
export let reporter: Reporter = new Reporter({});

/** Makes the reporter follow `--json`, `--quiet` and `--verbose`. */
export function setReporter(flags: ReporterFlags): void {
  reporter = new Reporter(flags);
}

/** Returns the failure itself, without that of the cleanup after it. */
function firstOf(error: unknown): unknown {
  return error instanceof SuppressedError ? firstOf(error.suppressed) : error;
}

/** Returns a field with the number of lines that were left out, unless it is zero. */
function counted(more: number): { more?: number } {
  return more === 0 ? {} : { more };
}

/** Writes a line to standard error. */
function write(line: string): void {
  printError(`${line}\n`);
}

function describe(error: unknown, message: string): Record<string, unknown> {
  if (error instanceof UsageError) return { name: "UsageError", message };
  return {
    name: error instanceof Error ? error.name : "Error",
    message,
    ...(isSocketError(error) && {
      operation: error.operation,
      path: error.path,
      code: error.code,
    }),
    ...(error instanceof RpcError && { code: error.code, data: error.data }),
    ...(error instanceof SocketInUse && { holder: error.holder }),
  };
}
