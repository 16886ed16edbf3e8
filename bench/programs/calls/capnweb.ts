/** Calls with capnweb, over `messages`. */

import { connect, type Connection, lines, messages } from "@uds/uds";
import { RpcSession, RpcTarget, type RpcTransport } from "capnweb";
import { report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";
import { calls, echo } from "./_load.ts";

class Target extends RpcTarget {
  echo(text: string): string {
    return echo({ text });
  }
}

function open(conn: Connection, target?: Target) {
  const channel = messages(conn, lines());
  const transport: RpcTransport = {
    send: (message) => channel.send(message as string),
    async receive() {
      const message = await channel.receive();
      if (message !== undefined) return message;
      channel.close();
      throw new Error("the end of file");
    },
  };
  const session = new RpcSession<Target>(transport, target);
  return { remote: session.getRemoteMain(), close: () => channel.close() };
}

if (TASK.role === "server") {
  await serveUds(async (conn) => {
    open(conn, new Target());
    await conn.closed;
  });
  report();
} else {
  const seconds = await calls(async () => {
    const { remote, close } = open(await connect(TASK.path));
    return { call: async (text) => await remote.echo(text), close };
  });
  report({ seconds });
}
