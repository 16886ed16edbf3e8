/** What the helps of several commands have in common. */

import type { Argument } from "../parse/command.ts";
import { value } from "../parse/options.ts";
import { text } from "../parse/parameters.ts";

/** About messages as lines. */
export const MESSAGES: string =
  `With --framing each line of the input is sent as a message, and each received message is printed as a
line, or with --json as an object with its size and its text. --hex is for binary messages: they are
written and printed in hexadecimal.`;

/** About packets as lines. */
export const PACKETS: string =
  `With --type dgram or seqpacket each line of the input is a packet, and each packet is printed as a line.
With --framing raw each read of the input is one, and packets are printed as they are (nc -uU, socat).
These types need --allow-ffi.`;

/** A command that another command runs. */
export const CMD: Argument<string> & { isRepeated: true } = {
  ...value(text, "CMD", "a program, and its arguments"),
  noun: "command",
  isRepeated: true,
};
