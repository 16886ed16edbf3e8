/** What a command says beside its data: on standard error, for people or as JSON. */

import { andMore, CountedLines, kindOfError } from "../../_internal/base/counted_lines.ts";
import { shortAddress } from "../../_internal/base/shown_address.ts";
import { isSocketError, SocketInUse } from "../../errors.ts";
import { red } from "../text/color.ts";
import { exitCodeOf, OK, USAGE } from "../exit_codes.ts";
import { printError } from "./output.ts";
import { shownPath } from "../parse/parameters.ts";
import { json, printable } from "../text/printable.ts";

/** The options that all commands have. */
export type CommonFlags = {
  readonly json?: boolean;
  readonly quiet?: boolean;
};

/** An end that is no failure: nobody reads the output any more, or the program was told to stop. */
export class QuietEnd extends Error {}

/** The command line is wrong. */
export class UsageError extends Error {
  /** The command whose help says how it is right. */
  readonly command: string | undefined;

  constructor(message: string, command?: string) {
    super(message);
    this.command = command;
  }
}

/**
 * What a command says; with `--json` each time as an object on a line of its own. Dispose of it where
 * {@linkcode Talk.report} or {@linkcode Talk.sayCounted} is used, so that what they counted is written.
 */
export class Talk implements Disposable {
  readonly #json: boolean;
  readonly #quiet: boolean;
  readonly #lines: CountedLines;

  constructor({ json = false, quiet = false }: CommonFlags) {
    this.#json = json;
    this.#quiet = quiet;
    this.#lines = new CountedLines({ onlyFirst: quiet });
  }

  /** Writes what was counted. */
  [Symbol.dispose](): void {
    this.#lines.flush();
  }

  /** Says something that is not needed: nothing with `--quiet`. */
  say(text: string, data: Record<string, unknown>): void {
    if (!this.#quiet) write(this.#json ? json(data) : printable(text));
  }

  /** Says something that each client can provoke: at most one line a second of a kind, the rest counted. */
  sayCounted(kind: string, text: string, data: Record<string, unknown>): void {
    this.#lines.add(kind, (more) => this.say(text + andMore(more), { ...data, ...counted(more) }));
  }

  /**
   * Says what went wrong with one client of a server: at most one line a second of a kind, the rest
   * counted. With `--quiet` the first one only.
   */
  report(error: unknown): void {
    this.#lines.add(kindOfError(error), (more) => void this.fail(error, codeOf(error), more));
  }

  /** Says that clients can connect now. */
  listening(path: string | null): void {
    this.say(`listening on ${shortAddress(String(path))}`, {
      event: "listening",
      path: shownPath(path),
    });
  }

  /** Says that it has been told to stop. */
  ending(): void {
    this.say("ending", { event: "ending" });
  }

  /** Says what went wrong, also with `--quiet`; gives the exit code. */
  fail(error: unknown, code: number = codeOf(error), more: number = 0): number {
    if (error instanceof SuppressedError) {
      // What went wrong, and what else went wrong when it was cleaned up after that.
      const codes = [this.fail(error.suppressed), this.fail(error.error)];
      return codes.find((each) => each !== OK) ?? OK;
    }
    if (error instanceof QuietEnd) return code;
    this.#report(error, code, more);
    // The failure decides the code; what else failed after it is only told.
    if (isSocketError(error) && error.cleanupError !== undefined) this.fail(error.cleanupError);
    return code;
  }

  #report(error: unknown, code: number, more: number): void {
    const message = error instanceof Error ? error.message : String(error);
    if (this.#json) {
      write(json({ error: describe(error, message), exitCode: code, ...counted(more) }));
      return;
    }
    write(`${red("uds:")} ${message.split("\n").map(printable).join("\n")}${andMore(more)}`);
    if (error instanceof UsageError) {
      write(`Try: uds ${error.command === undefined ? "" : `${error.command} `}--help`);
    }
  }
}

/** Returns the field for lines that were left out; nothing for none. */
function counted(more: number): { more?: number } {
  return more === 0 ? {} : { more };
}

/** Writes a line to standard error. */
function write(line: string): void {
  printError(`${line}\n`);
}

function codeOf(error: unknown): number {
  if (error instanceof QuietEnd) return OK;
  return error instanceof UsageError ? USAGE : exitCodeOf(error);
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
    ...(error instanceof SocketInUse && { holder: error.holder }),
  };
}
