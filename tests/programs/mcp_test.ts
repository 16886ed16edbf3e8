/** Servers and clients of the Model Context Protocol, with the library of the protocol. */

import { connect, type Connection } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { assert, assertEquals } from "@std/assert";
import { Process, udsCommand } from "../_cli.ts";
import { decode, Program, TempDir, test } from "../_helpers.ts";
import { packageVersion, peerCommand, startPeer } from "../interop/_peers.ts";
import { checked, endUds, startUds } from "./_programs.ts";

const MEMORY = "@modelcontextprotocol/server-memory";
const EVERYTHING = "@modelcontextprotocol/server-everything";
const NAMES = {
  [MEMORY]: "MCP, `server-memory`",
  [EVERYTHING]: "MCP, `server-everything`",
};

/** Adds a row of what was checked with a package. */
async function checkedWith(name: keyof typeof NAMES, way: string, what: string): Promise<void> {
  await checked(NAMES[name], ["echo", packageVersion(name)], way, what);
}

interface McpServer {
  initialize(params: object): { protocolVersion: string };
  "notifications/initialized"(): void;
  "tools/call"(params: object): { content: { text: string }[] };
}

/** Starts a session. */
async function initialize(
  conn: Connection,
  capabilities: object,
  methods: Record<string, (params: never) => unknown>,
) {
  const server = rpc<McpServer>(conn, { methods });
  const protocolVersion = "2025-06-18";
  const clientInfo = { name: "uds", version: "1.0.0" };
  const answer = await server.call("initialize", { protocolVersion, capabilities, clientInfo });
  assertEquals(answer.protocolVersion, protocolVersion);
  await server.notify("notifications/initialized");
  return server;
}

test("rpc() uses a server of the Model Context Protocol", async () => {
  await using dir = new TempDir();
  await using child = await startPeer(MEMORY, [], { MEMORY_FILE_PATH: dir.file("memory.jsonl") });
  const server = await initialize(child.conn, {}, {});
  const entities = [{ name: "uds", entityType: "package", observations: ["has sockets"] }];
  await server.call("tools/call", { name: "create_entities", arguments: { entities } });
  const read = { name: "read_graph", arguments: {} };
  const graphs = await Promise.all(
    Array.from({ length: 100 }, () => server.call("tools/call", read)),
  );
  for (const { content } of graphs) assertEquals(JSON.parse(content[0]!.text).entities, entities);
  await child.conn.closeWrite();
  await server.closed;
  assertEquals((await child.status).code, 0);
  const what = "start-up, a tool that writes, 100 calls at once of one that reads, the end";
  await checkedWith(MEMORY, '`pair()` with `socket: "stdio"`, `rpc()`', what);
}, { deadline: 60_000 });

/** Starts `uds serve`, with a process of `server-everything` for each connection. */
function serveEverything(path: string): Promise<Process> {
  return startUds("serve", path, "--", ...peerCommand(EVERYTHING));
}

test(
  "rpc() uses a server of the Model Context Protocol through uds tap and uds serve",
  async () => {
    await using dir = new TempDir();
    const [path, tapped] = [dir.file("mcp.sock"), dir.file("tapped.sock")];
    await using served = await serveEverything(path);
    await using tap = await startUds("tap", "--framing", "lines", tapped, path);
    const progress: unknown[] = [];
    await using conn = await connect(tapped);
    const server = await initialize(conn, { sampling: {} }, {
      "notifications/progress": (params: object) => progress.push(params),
      "sampling/createMessage": ({ messages: [asked] }: Sampling) => ({
        model: "none",
        role: "assistant",
        content: { type: "text", text: asked.content.text.toUpperCase() },
      }),
    });
    const { content: [done] } = await server.call("tools/call", {
      name: "trigger-long-running-operation",
      arguments: { duration: 0.01, steps: 5 },
      _meta: { progressToken: 7 },
    });
    assertEquals(done!.text, "Long running operation completed. Duration: 0.01 seconds, Steps: 5.");
    const steps = [1, 2, 3, 4, 5];
    assertEquals(progress, steps.map((step) => ({ progress: step, total: 5, progressToken: 7 })));
    const sampling = { name: "trigger-sampling-request", arguments: { prompt: "a color" } };
    for (let i = 0; i < 20; i++) {
      const { content: [sampled] } = await server.call("tools/call", sampling);
      assert(sampled!.text.includes("CONTEXT: A COLOR"), sampled!.text);
    }
    await conn.closeWrite();
    await server.closed;
    const events = (await endUds(tap)).trimEnd().split("\n").map((line) => JSON.parse(line));
    const shown = events.filter(({ event }) => event === "data")
      .map(({ direction, text }) => `${direction} ${JSON.parse(text).method ?? "result"}`);
    const count = (line: string) => shown.filter((each) => each === line).length;
    assertEquals([
      count("to-target tools/call"),
      count("to-client sampling/createMessage"),
      count("to-client notifications/progress"),
    ], [21, 20, 5]);
    await endUds(served);
    const what =
      "5 reports of progress in order, 20 calls back of the server, all shown by the tap";
    await checkedWith(EVERYTHING, "`uds serve`, `uds tap`, `rpc()`", what);
  },
  { deadline: 60_000 },
);

interface Sampling {
  messages: [{ content: { text: string } }];
}

/** Runs a client of the library, and compares what it got from `server-everything`. */
async function use(args: string[]): Promise<void> {
  const [program = "", ...rest] = peerCommand("mcp_user.mjs", args);
  await using client = new Process([program, ...rest]);
  const { code, stdout, stderr } = await client.ended;
  assertEquals(code, 0, stderr);
  const { tools, roots, sampled, ...results } = JSON.parse(decode(stdout));
  assert(tools.includes("trigger-sampling-request"), tools.join());
  assert(roots.includes("URI: file:///work\n"), roots);
  assert(sampled.includes("grün: Resource trigger-sampling-request context: a color"), sampled);
  assertEquals(results, {
    server: "mcp-servers/everything",
    sums: Array.from({ length: 100 }, (_, i) => `The sum of ${i} and 1 is ${i + 1}.`),
    isEchoed: true,
    resource: true,
    refused: -32602,
  });
}

const USED =
  "3 clients at once: 100 calls at once, a text of 1.1 MB and back, roots, sampling, an error";

test(
  "a client of the Model Context Protocol uses uds serve, through uds connect as its server",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("mcp.sock");
    await using served = await serveEverything(path);
    await Promise.all([1, 2, 3].map(() => use(udsCommand(["connect", path]))));
    await endUds(served);
    await checkedWith(EVERYTHING, "`uds serve`, `uds connect`", USED);
  },
  { deadline: 60_000 },
);

test(
  "connections are the transports of servers and clients of the Model Context Protocol",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("mcp.sock");
    const [program = "", ...args] = peerCommand("mcp_server.mjs", [path]);
    await using served = new Program(program, args);
    assertEquals(await served.line(), "listening");
    await Promise.all([1, 2, 3].map(() => use([path])));
    served.kill("SIGTERM");
    assertEquals((await served.status).code, 0);
    assertEquals(dir.list(), []);
    const way = "`serve()`, `connect()`, `messages()` with `json()`";
    await checkedWith(EVERYTHING, way, USED);
  },
  { deadline: 60_000 },
);
