/** The file of `uds tap --output`. Its format is described in `recording.ts`. */

import { codeOf } from "../../_internal/base/failure.ts";
import { tryLock } from "../../_internal/lock/lock_file.ts";
import { explained } from "../text/failure.ts";
import { GatheredOutput } from "./output.ts";
import { formatJson, type TimedEvent } from "./tap_lines.ts";

/** Only this user may read it: it contains all that was sent. */
const MODE = 0o600;

/** A file that is recorded to. */
export class Recorder implements AsyncDisposable {
  readonly #file: Deno.FsFile;
  readonly #output: GatheredOutput;
  #undo: () => void;

  private constructor(
    { file, undo }: OpenFile,
    write: (text: string) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#file = file;
    this.#undo = undo;
    this.#output = new GatheredOutput(onError, write);
  }

  /**
   * Opens a file. Its content stays until {@linkcode start}.
   *
   * @param onError Called when nothing can be written any more.
   */
  static async open(name: string, onError: (error: unknown) => void): Promise<Recorder> {
    const attempt = `Cannot write ${JSON.stringify(name)}`;
    const open = await explained(attempt, () => openPrivate(name));
    const write = (text: string) =>
      explained(attempt, async () => {
        const bytes = new TextEncoder().encode(text);
        for (let at = 0; at < bytes.length;) at += await open.file.write(bytes.subarray(at));
      });
    return new Recorder(open, write, onError);
  }

  /** Empties the file. A pipe or a device has nothing to empty. */
  start(): void {
    this.#undo = () => {};
    if (this.#file.statSync().isFile) this.#file.truncateSync();
  }

  /** Records an event. Returns a promise to await before the next one, if the file is slow. */
  add(event: TimedEvent): Promise<void> | undefined {
    return this.#output.add(formatJson(event, {}));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#output.flush();
    this.#undo();
    this.#file.close();
  }
}

/** A file for this process and this user alone. */
interface OpenFile {
  readonly file: Deno.FsFile;
  /** Removes the file if it is new. Otherwise restores its mode. */
  readonly undo: () => void;
}

/** Opens a file, locks it and sets its mode. A pipe or a device is only opened. */
async function openPrivate(name: string): Promise<OpenFile> {
  const options = { write: true, create: true, mode: MODE };
  let isNew = true;
  const file = await Deno.open(name, { ...options, createNew: true }).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    isNew = false;
    return Deno.open(name, options).catch((cause) => {
      if (codeOf(cause) !== "ENXIO") throw cause;
      const state = "it is a socket, or a device that does not exist. Choose another file";
      throw new Error(state, { cause });
    });
  });
  try {
    if (!file.statSync().isFile) return { file, undo() {} };
    if (!tryLock(file, true)) {
      throw new Deno.errors.WouldBlock(
        "another process has locked it, to record to it or to serve a path. Choose another file",
      );
    }
    const before = closeToOthers(name, file);
    return { file, undo: () => isNew ? Deno.removeSync(name) : Deno.chmodSync(name, before) };
  } catch (error) {
    file.close();
    // A new file that is locked already belongs to the other process.
    if (isNew && !(error instanceof Deno.errors.WouldBlock)) Deno.removeSync(name);
    throw error;
  }
}

/** Sets the mode of a file. Returns the one that it had. */
function closeToOthers(name: string, file: Deno.FsFile): number {
  const mode = () => file.statSync().mode! & 0o7777;
  const before = mode();
  if (before === MODE) return before;
  let cause: unknown;
  try {
    Deno.chmodSync(name, MODE);
  } catch (error) {
    cause = error;
  }
  // The file system may have no modes, or the name may belong to another file by now.
  if (mode() === MODE) return before;
  throw new Deno.errors.PermissionDenied(
    `its mode is 0${before.toString(8)} and cannot be set to 0600, so others could read it. ` +
      "Choose another file",
    { cause },
  );
}
