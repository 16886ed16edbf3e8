/** All subjects, in the order of the report. */

import type { Subject } from "../subject.ts";
import { connections } from "./connections.ts";
import { messages } from "./messages.ts";
import { processes } from "./processes.ts";

export const SUBJECTS: readonly Subject[] = [
  ...connections,
  ...messages,
  ...processes,
];
