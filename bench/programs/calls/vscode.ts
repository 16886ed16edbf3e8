/** Calls with vscode-jsonrpc over `node:net`, with its own reader and writer. */

import net from "node:net";
import process from "node:process";
import {
  createMessageConnection,
  RequestType,
  SocketMessageReader,
  SocketMessageWriter,
} from "vscode-jsonrpc/node";
import { PASSES, ready, report, TASK } from "../_program.ts";
import { calls, echo } from "./_load.ts";

const ECHO = new RequestType<{ text: string }, string, void>("echo");

function open(socket: net.Socket) {
  const connection = createMessageConnection(
    new SocketMessageReader(socket),
    new SocketMessageWriter(socket),
  );
  return connection;
}

if (TASK.role === "server") {
  let ended = 0;
  await new Promise<void>((resolve) => {
    const server = net.createServer((socket) => {
      const connection = open(socket);
      connection.onRequest(ECHO, echo);
      connection.onClose(() => {
        if (++ended < PASSES.length) return;
        server.close();
        resolve();
      });
      connection.listen();
    });
    server.listen(TASK.path, ready);
  });
  report();
  process.exit();
} else {
  const seconds = await calls(async () => {
    const socket = net.connect(TASK.path);
    await new Promise((resolve) => socket.once("connect", resolve));
    const connection = open(socket);
    connection.listen();
    return {
      call: (text) => connection.sendRequest(ECHO, { text }),
      close: () => void socket.end(),
    };
  });
  report({ seconds });
}
