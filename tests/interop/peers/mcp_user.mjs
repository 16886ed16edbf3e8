// A client of the Model Context Protocol, with the library of the protocol. It uses
// `server-everything`, and prints what it got.
//
// - One argument: the path of a socket. Its transport is a connection of uds.
// - More: a command, which the library starts and uses.
import { connect } from "@uds/uds";
import { ConnectionTransport } from "../../../examples/mcp/transport.mjs";

// The package is in the import map beside this file, not in that of the project.
const load = (name) => import(name);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");
const { CreateMessageRequestSchema, ListRootsRequestSchema } = await load(
  "@modelcontextprotocol/sdk/types.js",
);

const [command, ...args] = Deno.args;
const transport = args.length === 0
  ? new ConnectionTransport(await connect(command))
  : new StdioClientTransport({ command, args });
const client = new Client({ name: "user", version: "1.0.0" }, {
  capabilities: { roots: {}, sampling: {} },
});
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///work" }] }));
client.setRequestHandler(CreateMessageRequestSchema, ({ params: { messages: [asked] } }) => ({
  model: "none",
  role: "assistant",
  content: { type: "text", text: `grün: ${asked.content.text}` },
}));
await client.connect(transport);

const call = async (name, given) => {
  const { content: [{ text }] } = await client.callTool({ name, arguments: given });
  return text;
};
const message = "grün 😀 ".repeat(100_000);
const numbers = Array.from({ length: 100 }, (_, i) => i);
console.log(JSON.stringify({
  server: client.getServerVersion().name,
  tools: (await client.listTools()).tools.map(({ name }) => name),
  sums: await Promise.all(numbers.map((i) => call("get-sum", { a: i, b: 1 }))),
  isEchoed: await call("echo", { message }) === `Echo: ${message}`,
  // The server asks the client before it answers.
  roots: await call("get-roots-list", {}),
  sampled: await call("trigger-sampling-request", { prompt: "a color" }),
  resource: (await client.listResources()).resources.length > 0,
  refused: await client.getPrompt({ name: "absent" }).catch(({ code }) => code),
}));
await client.close();
