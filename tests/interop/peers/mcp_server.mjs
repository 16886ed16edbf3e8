// The servers of `server-everything`, each with a connection of uds as its transport, on a path.
import { serve, shutdownOnSignal } from "@uds/uds";
import { ConnectionTransport } from "../../../examples/mcp/transport.mjs";

// The packages are in the import map beside this file, not in that of the project.
const load = (name) => import(name);
const { createServer } = await load("@modelcontextprotocol/server-everything/dist/server/index.js");

let connections = 0;
const server = await serve(Deno.args[0], async (conn) => {
  const { server, cleanup } = createServer();
  const transport = new ConnectionTransport(conn);
  transport.sessionId = `${++connections}`;
  await server.connect(transport);
  await transport.closed;
  cleanup(transport.sessionId);
});
console.log("listening");
shutdownOnSignal(server);
await server.finished;
