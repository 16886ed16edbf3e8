/** What a command says beside its data: on standard error, for people or as JSON. */

import { isSocketError, SocketInUse } from "../errors.ts";
import { red } from "./color.ts";
import { exitCodeOf, OK, USAGE } from "./exit_codes.ts";
import { shownPath } from "./parameters.ts";
import { printable } from "./printable.ts";

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

/** What a command says; with `--json` each time as an object on a line of its own. */
export class Talk {
  readonly #json: boolean;
  readonly #quiet: boolean;

  constructor({ json = false, quiet = false }: CommonFlags) {
    this.#json = json;
    this.#quiet = quiet;
  }

  /** Says something that is not needed: nothing with `--quiet`. */
  say(text: string, data: Record<string, unknown>): void {
    if (!this.#quiet) write(this.#json ? JSON.stringify(data) : printable(text));
  }

  /** Says that clients can connect now. */
  listening(path: string | null): void {
    this.say(`listening on ${shownPath(path)}`, { event: "listening", path: shownPath(path) });
  }

  /** Says that it has been told to stop. */
  ending(): void {
    this.say("ending", { event: "ending" });
  }

  /** Says what went wrong, also with `--quiet`; gives the exit code. */
  fail(error: unknown, code: number = codeOf(error)): number {
    if (error instanceof SuppressedError) {
      // What went wrong, and what else went wrong when it was cleaned up after that.
      const codes = [this.fail(error.suppressed), this.fail(error.error)];
      return codes.find((each) => each !== OK) ?? OK;
    }
    if (error instanceof QuietEnd) return code;
    const message = error instanceof Error ? error.message : String(error);
    if (this.#json) {
      write(JSON.stringify({ error: describe(error, message), exitCode: code }));
      return code;
    }
    write(`${red("uds:")} ${message.split("\n").map(printable).join("\n")}`);
    if (error instanceof UsageError) {
      write(`Try: uds ${error.command === undefined ? "" : `${error.command} `}--help`);
    }
    return code;
  }
}

/** Writes a line to standard error. */
function write(line: string): void {
  try {
    console.error(line);
  } catch {
    // Where nothing can be said, on a disk that is full, the rest is still done.
  }
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
