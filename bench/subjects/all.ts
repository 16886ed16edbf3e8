/** All subjects, in the order of the report. */

import type { Subject } from "../subject.ts";
import { bulk } from "./bulk.ts";
import { calls } from "./calls.ts";
import { cliStart } from "./cli_start.ts";
import { connections } from "./connect.ts";
import { connectionCount, lowLatency } from "./connection_count.ts";
import { echo } from "./echo.ts";
import { idle } from "./idle.ts";
import { jsonLines } from "./json_lines.ts";
import { largeMessages } from "./large_messages.ts";
import { messageSize } from "./message_size.ts";
import { pipelined } from "./messages.ts";
import { pairs } from "./pair.ts";
import { roundTrip } from "./round_trip.ts";

/** The comparisons, then the points of the curves. */
export const SUBJECTS: readonly Subject[] = [
  roundTrip,
  ...lowLatency,
  bulk,
  echo,
  pipelined,
  jsonLines,
  ...largeMessages,
  ...calls,
  connections,
  idle,
  ...pairs,
  cliStart,
  ...messageSize,
  ...connectionCount,
];
