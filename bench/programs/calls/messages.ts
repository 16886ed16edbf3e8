/** The round trip of a request and its answer with `messages`, without calls. */

import { connect, json, lines, messages } from "@uds/uds";
import { report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";
import { calls, echo } from "./_load.ts";

interface Message {
  jsonrpc: "2.0";
  id: number;
  method?: string;
  params?: { text: string };
  result?: string;
}

if (TASK.role === "server") {
  await serveUds(async (conn) => {
    await using channel = messages(conn, json<Message>(lines()));
    for await (const { id, params } of channel) {
      channel.send({ jsonrpc: "2.0", id, result: echo(params!) });
    }
  });
  report();
} else {
  const seconds = await calls(async () => {
    const channel = messages(await connect(TASK.path), json<Message>(lines()));
    let id = 0;
    const call = async (text: string) => {
      channel.send({ jsonrpc: "2.0", id: ++id, method: "echo", params: { text } });
      return (await channel.receive())!.result!;
    };
    return { call, close: () => channel.close() };
  });
  report({ seconds });
}
