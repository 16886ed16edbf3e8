/**
 * The tools that run the programs, and the machine. A missing tool is known by its name, which then
 * appears in the rows that need it.
 */

import { basename, fromFileUrl, join } from "@std/path/posix";
import type { Contender } from "./subject.ts";

const PROGRAMS = fromFileUrl(new URL("./programs/", import.meta.url));
const ROOT = fromFileUrl(new URL("../", import.meta.url));
const DENO = ["--quiet", "--no-lock", "--config", join(ROOT, "deno.json")];

/** How each tool shows its version. */
const VERSIONS: Record<string, [command: string, ...args: string[]]> = {
  Node: ["node", "--version"],
  gcc: ["gcc", "-dumpfullversion"],
  Python: ["/usr/bin/python3", "--version"],
  socat: ["socat", "-V"],
  HAProxy: ["haproxy", "-v"],
};

/** The maximum number of descriptors that a process has in addition to its connections. */
const OTHER_DESCRIPTORS = 100;

/** The machine, its tools, and the date. */
export interface Environment {
  date: string;
  system: string;
  processor: string;
  cores: number;
  memory: string;
  /** The load at the beginning: running or waiting processes, averaged over a minute. */
  load: number;
  versions: Record<string, string>;
  uds: string;
}

/** The tools of this machine, and a temporary directory for sockets and compiled programs. */
export class Tools implements AsyncDisposable {
  /** The version of each installed tool. */
  readonly versions: Record<string, string> = {
    Deno: Deno.version.deno,
    V8: Deno.version.v8,
  };
  readonly directory: string = Deno.makeTempDirSync({ prefix: "uds-bench-" });
  #descriptors = 0;
  readonly #compiled = new Map<string, Promise<string>>();

  private constructor() {}

  /** Finds the installed tools. */
  static async open(): Promise<Tools> {
    const tools = new Tools();
    const limit = (await output("sh", "-c", "ulimit -n"))?.trim();
    tools.#descriptors = limit === "unlimited" ? Infinity : Number(limit);
    for (const [name, command] of Object.entries(VERSIONS)) {
      const version = (await output(...command))?.match(/\d+(\.\d+)+/)?.[0];
      if (version !== undefined) tools.versions[name] = version;
    }
    return tools;
  }

  /** Returns what a contender lacks on this machine, if anything. */
  missing({ program, relay, connections = 0 }: Contender): string | undefined {
    if (connections + OTHER_DESCRIPTORS > this.#descriptors) {
      return `no more than ${this.#descriptors} descriptors`;
    }
    const ending = program.match(/\.\w+/)?.[0] as string;
    const tool = { ".mjs": "Node", ".py": "Python", ".c": "gcc" }[ending];
    return [tool, relay].filter((name) => name !== undefined && name !== "uds")
      .filter((name) => this.versions[name!] === undefined).map((name) => `no ${name}`)[0];
  }

  /** Returns the command that runs a file of `programs/`. C is compiled at its first use. */
  async command(name: string, args: string[]): Promise<string[]> {
    const file = join(PROGRAMS, name);
    if (file.endsWith(".mjs")) return ["node", file, ...args];
    if (file.endsWith(".py")) return [VERSIONS["Python"]![0], file, ...args];
    if (file.endsWith(".c")) return [await this.#compile(file), ...args];
    return [Deno.execPath(), "run", "-A", ...DENO, "--v8-flags=--expose-gc", file, ...args];
  }

  /** Returns the command that relays from a path to another one. */
  async relay(name: string, from: string, to: string): Promise<string[]> {
    // With these permissions `deno task install` installs it.
    const permissions = ["-RWN", "--allow-run", "--allow-env", "--allow-sys=uid"];
    const cli = [...permissions, join(ROOT, "cli.ts"), "relay", "-q", from, to];
    if (name === "uds") return [Deno.execPath(), "run", ...DENO, ...cli];
    // Both have small buffers unless they are told, and would be slower.
    if (name === "socat") return ["socat", "-b262144", `UNIX-LISTEN:${from},fork`, `UNIX:${to}`];
    const config = `${from}.cfg`;
    await Deno.writeTextFile(
      config,
      `global
  tune.bufsize 262144
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind unix@${from}
  default_backend back
backend back
  server back unix@${to}
`,
    );
    return ["haproxy", "-q", "-db", "-f", config];
  }

  /** Returns the environment of this machine. */
  async environment(): Promise<Environment> {
    const { default: config } = await import("../deno.json", { with: { type: "json" } });
    const cpu = await Deno.readTextFile("/proc/cpuinfo").catch(() => "");
    return {
      date: new Date().toISOString().slice(0, 10),
      system: `${Deno.build.os} ${Deno.osRelease()}, ${Deno.build.arch}`,
      processor: cpu.match(/^model name\s*:\s*(.*)$/m)?.[1] ?? "unknown",
      cores: navigator.hardwareConcurrency,
      memory: `${Math.round(Deno.systemMemoryInfo().total / 2 ** 30)} GiB`,
      load: Deno.loadavg()[0] as number,
      versions: this.versions,
      uds: config.version,
    };
  }

  #compile(file: string): Promise<string> {
    let compiled = this.#compiled.get(file);
    if (compiled === undefined) {
      const result = join(this.directory, basename(file, ".c"));
      compiled = output("gcc", "-O2", "-o", result, file).then((text) => {
        if (text === undefined) throw new Error(`Cannot compile ${JSON.stringify(file)}`);
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

/** Returns the output of a command, or `undefined` if it is missing or fails. */
async function output(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
