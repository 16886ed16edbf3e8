// A peer with the JSON-RPC library of Visual Studio Code.
// Usage: vscode_jsonrpc.mjs server|client <path>
import net from "node:net";

// The package is in the import map beside this file, not in that of the project.
const load = (name) => import(name);
const { default: jsonrpc } = await load("vscode-jsonrpc/node.js");
const [role, path] = process.argv.slice(2);

/** Answers what both roles answer. */
function connect(socket) {
  const peer = jsonrpc.createMessageConnection(
    new jsonrpc.StreamMessageReader(socket),
    new jsonrpc.StreamMessageWriter(socket),
  );
  peer.onRequest("upper", (text) => text.toUpperCase());
  peer.onRequest("fail", () => new jsonrpc.ResponseError(4711, "as asked", { why: ["grün"] }));
  peer.onRequest("wait", (token) =>
    new Promise((resolve) => {
      peer.sendNotification("waiting");
      token.onCancellationRequested(() =>
        resolve(
          new jsonrpc.ResponseError(jsonrpc.LSPErrorCodes?.RequestCancelled ?? -32800, "cancelled"),
        )
      );
    }));
  // Asks back before it answers.
  peer.onRequest("sum", async (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += await peer.sendRequest("double", i);
    return sum;
  });
  peer.listen();
  return peer;
}

function serve() {
  const server = net.createServer((socket) => {
    connect(socket).onNotification("end", () => {
      socket.end();
      server.close();
    });
  });
  server.listen(path);
}

async function call() {
  const socket = net.connect(path);
  const peer = connect(socket);
  const refusal = ({ code, message, data }) => ({ code, message, data });
  const results = {
    sums: await Promise.all(Array.from({ length: 1000 }, (_, i) => peer.sendRequest("add", i, 1))),
    echo: await peer.sendRequest("echo", { text: "grün ".repeat(100_000) }),
    // The server asks back before it answers.
    shout: await peer.sendRequest("shout", ["a", "b"]),
    unknown: await peer.sendRequest("absent").catch(refusal),
    failed: await peer.sendRequest("fail").catch(refusal),
  };
  const source = new jsonrpc.CancellationTokenSource();
  peer.onNotification("waiting", () => source.cancel());
  results.cancelled = await peer.sendRequest("wait", source.token).catch(refusal);
  await peer.sendNotification("log", "done");
  results.log = await peer.sendRequest("log");
  results.echo = results.echo.text.length;
  console.log(JSON.stringify(results));
  socket.end();
}

await (role === "server" ? serve() : call());
