/** `uds call PATH METHOD [JSON…]`: calls a method of a JSON-RPC server, and prints the result. */

import type { SocketPath } from "../../address.ts";
import { json as jsonCodec } from "../../framing.ts";
import { rpc } from "../../rpc/rpc.ts";
import { connectStream } from "../io/connect_stream.ts";
import { codecOf } from "../io/framing.ts";
import { print } from "../io/output.ts";
import { reporter } from "../io/reporter.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { ConnectingFlags } from "../parse/options.ts";
import type { Framing } from "../parse/parameters.ts";
import { json } from "../text/printable.ts";
import { connectOptions } from "./connect.ts";

/** Its options. */
export type CallFlags = CommonFlags & ConnectingFlags & {
  readonly framing?: Framing;
  readonly notify?: boolean;
};

/** The command. */
export async function run(
  flags: CallFlags,
  path: SocketPath,
  method: string,
  values: readonly unknown[],
): Promise<void> {
  const { framing = "lines", notify, timeout } = flags;
  await using peer = rpc(await connectStream(connectOptions(flags, path)), {
    codec: jsonCodec(codecOf({ framing })),
    onError: (error) => reporter.report(error),
    ...(timeout && { timeout }),
  });
  const params = paramsOf(values);
  if (notify) await peer.notify(method, params);
  else await print(`${json(await peer.call(method, params))}\n`);
}

/** Returns one object or array as it is, and other values by position. */
function paramsOf(values: readonly unknown[]): object | undefined {
  const [first, ...others] = values;
  if (values.length === 0) return undefined;
  return others.length === 0 && typeof first === "object" && first !== null ? first : [...values];
}
