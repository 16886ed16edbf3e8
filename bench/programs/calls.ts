/**
 * Calls of a method that returns its text. The words: the library, and `one` in flight or `many`.
 * birpc uses `messages`, vscode-jsonrpc its own reader and writer on `node:net`.
 * `messages` sends the same texts without calls.
 */

import { type Connection, json, lines, messages } from "@uds/uds";
import { counted, PASSES, ready, report, TASK, timed } from "./_program.ts";
import { uds } from "./_uds.ts";

const [library, inFlight] = TASK.words;
const IN_FLIGHT = inFlight === "one" ? 1 : 500;
const TEXT = "x".repeat(TASK.size);

interface Methods {
  echo(params: { text: string }): string;
}

function echo({ text }: { text: string }): string {
  counted.items++;
  counted.bytes += text.length;
  return text;
}

/** A library: how it serves a connection, and the client's call. */
interface Library {
  serve(conn: Connection): Promise<unknown>;
  connect(conn: Connection): { call(text: string): Promise<string>; close(): void };
}

const LIBRARIES: Record<string, () => Promise<Library>> = {
  async uds() {
    const { rpc } = await import("@uds/uds/rpc");
    return {
      serve: (conn) => rpc(conn, { methods: { echo } }).closed,
      connect(conn) {
        const peer = rpc<Methods>(conn);
        return { call: (text) => peer.call("echo", { text }), close: () => peer.close() };
      },
    };
  },
  async birpc() {
    const { createBirpc } = await import("birpc");
    const open = (conn: Connection, methods: object) => {
      const channel = messages<unknown>(conn, json(lines()));
      let receive = (_message: unknown): void => {};
      const remote = createBirpc<Methods, object>(methods, {
        post: (message) => void channel.send(message),
        on: (callback) => void (receive = callback),
      });
      const closed = (async () => {
        for await (const batch of channel.batches()) {
          for (const message of batch) receive(message);
        }
        channel.close();
      })();
      return {
        call: (text: string) => remote.echo({ text }),
        close: () => channel.close(),
        closed,
      };
    };
    return { serve: (conn) => open(conn, { echo }).closed, connect: (conn) => open(conn, {}) };
  },
  messages() {
    interface Message {
      jsonrpc: "2.0";
      id: number;
      method?: string;
      params?: { text: string };
      result?: string;
    }
    return Promise.resolve({
      async serve(conn) {
        await using channel = messages(conn, json<Message>(lines()));
        for await (const { id, params } of channel) {
          channel.send({ jsonrpc: "2.0", id, result: echo(params!) });
        }
      },
      connect(conn) {
        const channel = messages(conn, json<Message>(lines()));
        let id = 0;
        const call = async (text: string) => {
          channel.send({ jsonrpc: "2.0", id: ++id, method: "echo", params: { text } });
          return (await channel.receive())!.result!;
        };
        return { call, close: () => channel.close() };
      },
    });
  },
};

/** vscode-jsonrpc brings its own reader and writer for sockets of `node:net`. */
async function vscode(): Promise<void> {
  const { default: net } = await import("node:net");
  const { createMessageConnection, RequestType, SocketMessageReader, SocketMessageWriter } =
    await import("vscode-jsonrpc/node");
  const method = new RequestType<{ text: string }, string, void>("echo");
  const open = (socket: InstanceType<typeof net.Socket>) =>
    createMessageConnection(new SocketMessageReader(socket), new SocketMessageWriter(socket));
  if (TASK.role === "client") {
    const seconds = await calls(async () => {
      const socket = net.connect(TASK.path);
      await new Promise((resolve) => socket.once("connect", resolve));
      const connection = open(socket);
      connection.listen();
      return {
        call: (text) => connection.sendRequest(method, { text }),
        close: () => void socket.end(),
      };
    });
    return report({ seconds });
  }
  let ended = 0;
  const server = net.createServer((socket) => {
    const connection = open(socket);
    connection.onRequest(method, echo);
    connection.onClose(() => {
      if (++ended < PASSES.length) return;
      report();
      Deno.exit();
    });
    connection.listen();
  });
  server.listen(TASK.path, ready);
}

/** Runs both passes, each on its own connection. Returns the seconds of the second one. */
function calls(
  connect: () => Promise<ReturnType<Library["connect"]>>,
): Promise<number> {
  return timed(async (items) => {
    const { call, close } = await connect();
    const take = (text: string) => void echo({ text });
    for (let i = 0; i < items; i += IN_FLIGHT) {
      if (IN_FLIGHT === 1) {
        take(await call(TEXT));
        continue;
      }
      const answers: Promise<void>[] = [];
      for (let j = i; j < Math.min(i + IN_FLIGHT, items); j++) answers.push(call(TEXT).then(take));
      await Promise.all(answers);
    }
    close();
  });
}

if (library === "vscode") {
  await vscode();
} else {
  const { serve, connect } = await LIBRARIES[library!]!();
  if (TASK.role === "client") {
    report({ seconds: await calls(async () => connect(await uds.connect())) });
  } else {
    await uds.serve(async (conn) => void await serve(conn));
    report();
  }
}
