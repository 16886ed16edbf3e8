/** The environment of the figures: machine, tools and date. */

import type { Toolbox } from "./toolbox.ts";

/** The machine, its tools, and the date. */
export interface Environment {
  date: string;
  system: string;
  processor: string;
  cores: number;
  memory: string;
  /**
   * The load of the machine at the beginning: running or waiting processes, averaged over a minute.
   */
  load: number;
  versions: Record<string, string>;
  uds: string;
}

/** Returns the environment of this machine. */
export async function environmentOf(tools: Toolbox): Promise<Environment> {
  const { default: config } = await import("../deno.json", { with: { type: "json" } });
  return {
    date: new Date().toISOString().slice(0, 10),
    system: `${Deno.build.os} ${Deno.osRelease()}, ${Deno.build.arch}`,
    processor: await processor(),
    cores: navigator.hardwareConcurrency,
    memory: `${Math.round(Deno.systemMemoryInfo().total / 2 ** 30)} GiB`,
    load: Deno.loadavg()[0] as number,
    versions: tools.versions,
    uds: config.version,
  };
}

async function processor(): Promise<string> {
  try {
    const text = await Deno.readTextFile("/proc/cpuinfo");
    return text.match(/^model name\s*:\s*(.*)$/m)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
