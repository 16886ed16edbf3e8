/** All subjects, in the order of the report: the comparisons, then the points of the curves. */

import type { Subject } from "../subject.ts";
import { connectionCounts, connections } from "./connections.ts";
import { messages, messageSizes } from "./messages.ts";
import { processes } from "./processes.ts";

export const SUBJECTS: readonly Subject[] = [
  ...connections,
  ...messages,
  ...processes,
  ...messageSizes,
  ...connectionCounts,
];
