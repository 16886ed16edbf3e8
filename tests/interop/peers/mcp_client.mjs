// A client of the Model Context Protocol on the standard streams, with the library of the protocol.
// It prints what it got on standard error.
// The package is in the import map beside this file, not in that of the project.
const load = (name) => import(name);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
// A transport over the two standard streams; the library's own one for clients starts a program.
const { StdioServerTransport } = await load("@modelcontextprotocol/sdk/server/stdio.js");

const client = new Client({ name: "peer", version: "1.0.0" }, { capabilities: { roots: {} } });
const { ListRootsRequestSchema } = await load("@modelcontextprotocol/sdk/types.js");
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///work" }] }));
await client.connect(new StdioServerTransport());

const progress = [];
const results = {
  server: client.getServerVersion(),
  tools: (await client.listTools()).tools.map(({ name }) => name),
  added: await client.callTool({ name: "add", arguments: { a: 1, b: 2 } }),
  slow: await client.callTool({ name: "slow", arguments: {} }, undefined, {
    onprogress: ({ progress: done, total }) => progress.push([done, total]),
  }),
  // The server asks for the roots before it answers.
  roots: await client.callTool({ name: "roots", arguments: {} }),
  refused: await client.callTool({ name: "absent", arguments: {} }).catch(({ code, message }) => ({
    code,
    message,
  })),
  many: (await Promise.all(
    Array.from(
      { length: 200 },
      (_, i) => client.callTool({ name: "add", arguments: { a: i, b: 1 } }),
    ),
  )).map(({ content: [{ text }] }) => Number(text)),
};
console.error(JSON.stringify({ ...results, progress }));
await client.close();
