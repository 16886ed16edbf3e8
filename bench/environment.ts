/** Where and when the figures were taken: without that they say nothing. */

import type { Toolbox } from "./toolbox.ts";

/** The machine, its tools, the day. */
export interface Environment {
  date: string;
  system: string;
  processor: string;
  cores: number;
  memory: string;
  /** How busy the machine was with other work at the beginning: processes that run or wait, of a minute. */
  load: number;
  versions: Record<string, string>;
  uds: string;
}

/** Looks at this machine. */
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
