/** Calls with `rpc`. */

import { connect } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";
import { calls, echo } from "./_load.ts";

interface Remote {
  echo(params: { text: string }): string;
}

if (TASK.role === "server") {
  await serveUds((conn) => rpc(conn, { methods: { echo } }).closed);
  report();
} else {
  const seconds = await calls(async () => {
    const peer = rpc<Remote>(await connect(TASK.path));
    return { call: (text) => peer.call("echo", { text }), close: () => peer.close() };
  });
  report({ seconds });
}
