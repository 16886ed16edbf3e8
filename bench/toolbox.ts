/**
 * The tools that run the programs: Deno, Node, Python, a C compiler. A missing tool is known by its
 * name, which then appears in the rows that need it.
 */

import { basename, fromFileUrl, join } from "@std/path/posix";
import type { Contender } from "./subject.ts";

const PROGRAMS = fromFileUrl(new URL("./programs/", import.meta.url));
const CONFIG = fromFileUrl(new URL("../deno.json", import.meta.url));

/** The system's Python comes first, because packages are installed for it. */
const PYTHONS = ["/usr/bin/python3", "python3"];

/** The maximum number of descriptors that a process has in addition to its connections. */
const OTHER_DESCRIPTORS = 100;

/** The tools of this machine, and a temporary directory for compiled programs. */
export class Toolbox implements AsyncDisposable {
  /** The version of each installed tool. */
  readonly versions: Record<string, string> = {};
  /** A temporary directory. */
  readonly directory: string;
  #python = "";
  #descriptors = 0;
  readonly #compiled = new Map<string, Promise<string>>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Finds the installed tools. */
  static async open(): Promise<Toolbox> {
    const tools = new Toolbox(await Deno.makeTempDir({ prefix: "uds-bench-" }));
    const { versions } = tools;
    const limit = await output("sh", ["-c", "ulimit -n"]);
    tools.#descriptors = limit === "unlimited" ? Infinity : Number(limit);
    versions["Deno"] = Deno.version.deno;
    versions["V8"] = Deno.version.v8;
    const node = await output("node", ["--version"]);
    if (node !== undefined) versions["Node"] = node.replace("v", "");
    const gcc = await output("gcc", ["-dumpfullversion"]);
    if (gcc !== undefined) versions["gcc"] = gcc;
    for (const python of PYTHONS) {
      const version = await output(python, [
        "-c",
        "import platform as p; print(p.python_version())",
      ]);
      if (version === undefined) continue;
      const zmq = await output(python, ["-c", "import zmq; print(zmq.zmq_version())"]);
      if (tools.#python === "" || zmq !== undefined) {
        tools.#python = python;
        versions["Python"] = version;
      }
      if (zmq === undefined) continue;
      versions["ZeroMQ"] = zmq;
      break;
    }
    return tools;
  }

  /** Returns what a contender lacks on this machine, if anything. */
  missing({ program, needs, connections = 0 }: Contender): string | undefined {
    if (needs === "zmq" && this.versions["ZeroMQ"] === undefined) return "no python3-zmq";
    if (connections + OTHER_DESCRIPTORS > this.#descriptors) {
      return `no more than ${this.#descriptors} descriptors`;
    }
    const tool = { ".mjs": "Node", ".py": "Python", ".c": "gcc" }[extension(program)];
    return tool === undefined || this.versions[tool] !== undefined ? undefined : `no ${tool}`;
  }

  /** Returns the command that runs a file of `programs/`. C is compiled at its first use. */
  async command(program: string, args: string[]): Promise<[command: string, args: string[]]> {
    const file = join(PROGRAMS, program);
    switch (extension(program)) {
      case ".mjs":
        return ["node", ["--expose-gc", file, ...args]];
      case ".py":
        return [this.#python, [file, ...args]];
      case ".c":
        return [await this.#compile(file), args];
      default:
        return [Deno.execPath(), [
          ...["run", "--quiet", "-A", "--no-lock", "--config", CONFIG, "--v8-flags=--expose-gc"],
          ...[file, ...args],
        ]];
    }
  }

  #compile(file: string): Promise<string> {
    let compiled = this.#compiled.get(file);
    if (compiled === undefined) {
      const result = join(this.directory, basename(file, ".c"));
      compiled = new Deno.Command("gcc", {
        args: ["-O2", "-o", result, file],
        stderr: "inherit",
      }).output().then(({ success }) => {
        if (!success) throw new Error(`Cannot compile ${JSON.stringify(file)}`);
        return result;
      });
      this.#compiled.set(file, compiled);
    }
    return compiled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }
}

/** Returns the extension of a file name, with its dot. */
function extension(file: string): string {
  return file.slice(file.lastIndexOf("."));
}

/** Returns the output of a command, or `undefined` if it is missing or fails. */
async function output(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
