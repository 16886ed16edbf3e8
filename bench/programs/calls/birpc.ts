/** Calls with birpc, over `messages`. */

import { connect, type Connection, json, lines, messages } from "@uds/uds";
import { createBirpc } from "birpc";
import { report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";
import { calls, echo } from "./_load.ts";

interface Remote {
  echo(params: { text: string }): string;
}

function open(conn: Connection, methods: object) {
  const channel = messages<unknown>(conn, json(lines()));
  let receive = (_message: unknown): void => {};
  const remote = createBirpc<Remote, object>(methods, {
    post: (message) => void channel.send(message),
    on: (callback) => void (receive = callback),
  });
  const closed = (async () => {
    for await (const batch of channel.batches()) for (const message of batch) receive(message);
    channel.close();
  })();
  return { remote, closed, close: () => channel.close() };
}

if (TASK.role === "server") {
  await serveUds((conn) => open(conn, { echo }).closed);
  report();
} else {
  const seconds = await calls(async () => {
    const { remote, close } = open(await connect(TASK.path), {});
    return { call: (text) => remote.echo({ text }), close };
  });
  report({ seconds });
}
