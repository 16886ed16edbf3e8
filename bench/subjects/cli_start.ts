/** How long the command line takes to report a running server. */

import { milliseconds, type Subject } from "../subject.ts";

const COUNT = 12;

export const cliStart: Subject = {
  name: "CLI start",
  title: "CLI start: `uds probe` of a live path",
  unit: "ms",
  better: "less",
  size: 1,
  contenders: [
    {
      name: "uds probe",
      program: "cli_start/spawns.ts",
      variant: "probe",
      count: COUNT,
      alone: true,
    },
    {
      name: "empty Deno script",
      program: "cli_start/spawns.ts",
      variant: "empty",
      count: COUNT,
      alone: true,
    },
  ],
  lines: [{ ours: "uds probe", baseline: "empty Deno script", atMost: 2 }],
  value: milliseconds,
};
