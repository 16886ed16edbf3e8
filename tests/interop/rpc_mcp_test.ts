/** Servers and clients of the Model Context Protocol (JSON lines on the standard streams). */

import { RpcError } from "@uds/uds";
import { rpc, RPC_CODES } from "@uds/uds/rpc";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { startPeer } from "./_peers.ts";

const VERSION = "2025-06-18";

interface Content {
  content: { type: "text"; text: string }[];
}

interface McpServer {
  initialize(params: object): { protocolVersion: string; serverInfo: { name: string } };
  "notifications/initialized"(): void;
  ping(): object;
  "tools/list"(): { tools: { name: string }[] };
  "tools/call"(params: { name: string; arguments: object }): Content;
  "absent/method"(): never;
}

test("rpc() works with an MCP server as a child", async () => {
  await using dir = new TempDir();
  const memory = dir.file("memory.jsonl");
  const name = "@modelcontextprotocol/server-memory";
  await using child = await startPeer(name, [], { MEMORY_FILE_PATH: memory });
  const server = rpc<McpServer>(child.conn);
  const { protocolVersion, serverInfo } = await server.call("initialize", {
    protocolVersion: VERSION,
    capabilities: {},
    clientInfo: { name: "test", version: "1.0.0" },
  });
  assertEquals([protocolVersion, serverInfo.name], [VERSION, "memory-server"]);
  await server.notify("notifications/initialized");
  assertEquals(await server.call("ping"), {});
  const { tools } = await server.call("tools/list");
  assert(tools.some(({ name }) => name === "create_entities"));

  const entity = { name: "ünser 😀", entityType: "test", observations: ["a\nb", "c\u2028d"] };
  await server.call("tools/call", {
    name: "create_entities",
    arguments: { entities: [entity] },
  });
  const read = { name: "read_graph", arguments: {} };
  const answers = await Promise.all(Array.from({ length: 100 }, () => {
    return server.call("tools/call", read);
  }));
  for (const { content: [first] } of answers) {
    assertEquals(JSON.parse(first!.text).entities, [entity]);
  }
  const absent = await assertRejects(() => server.call("absent/method"), RpcError);
  assertEquals(absent.code, RPC_CODES.METHOD_NOT_FOUND);

  // It ends at the end of its standard input.
  await child.conn.closeWrite();
  await server.closed;
  assertEquals((await child.status).code, 0);
}, { deadline: 60_000 });

interface McpClient {
  ping(): object;
  "roots/list"(): { roots: { uri: string }[] };
  "notifications/progress"(params: object): void;
}

interface ToolCall {
  name: string;
  arguments: { a: number; b: number };
  _meta?: { progressToken: number };
}

test("rpc() serves an MCP client as a child", async () => {
  await using child = await startPeer("mcp_client.mjs");
  const answer = (text: string): Content => ({ content: [{ type: "text", text }] });
  let initialized = false;
  const client = rpc<McpClient>(child.conn, {
    methods: {
      initialize: ({ protocolVersion }: { protocolVersion: string }) => ({
        protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: "uds", version: "1.0.0" },
      }),
      "notifications/initialized": () => void (initialized = true),
      "tools/list": () => ({
        tools: ["add", "slow", "roots"].map((name) => ({ name, inputSchema: { type: "object" } })),
      }),
      async "tools/call"({ name, arguments: { a, b }, _meta }: ToolCall): Promise<Content> {
        if (name === "add") return answer(`${a + b}`);
        if (name === "slow") {
          const { progressToken } = _meta!;
          for (const progress of [1, 2, 3]) {
            await client.notify("notifications/progress", { progressToken, progress, total: 3 });
          }
          // The client drops progress that comes together with the answer.
          await client.call("ping");
          return answer("done");
        }
        if (name !== "roots") {
          throw new RpcError("no such tool", { code: RPC_CODES.INVALID_PARAMS });
        }
        const { roots } = await client.call("roots/list");
        return answer(roots.map(({ uri }) => uri).join());
      },
    },
  });
  const printed = await new Response(child.stderr).text();
  assertEquals(JSON.parse(printed), {
    server: { name: "uds", version: "1.0.0" },
    tools: ["add", "slow", "roots"],
    added: answer("3"),
    slow: answer("done"),
    progress: [[1, 3], [2, 3], [3, 3]],
    roots: answer("file:///work"),
    refused: { code: RPC_CODES.INVALID_PARAMS, message: "MCP error -32602: no such tool" },
    many: Array.from({ length: 200 }, (_, i) => i + 1),
  });
  assert(initialized);
  await client.closed;
  assertEquals((await child.status).code, 0);
}, { deadline: 60_000 });
