/** The language server for JSON of Visual Studio Code, as a child and as a client of a path. */

import { type Connection, contentLength, json, listen } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { assertEquals } from "@std/assert";
import { gate, Program, TempDir, test } from "../_helpers.ts";
import { peerCommand, startPeer } from "./_peers.ts";

const PACKAGE = "vscode-json-languageserver";
const URI = "file:///project/colors.json";

interface LanguageServer {
  initialize(params: object): { capabilities: Record<string, unknown> };
  initialized(params: object): void;
  "workspace/didChangeConfiguration"(params: object): void;
  "textDocument/didOpen"(params: object): void;
  "textDocument/completion"(params: object): { items: { label: string }[] };
  shutdown(): null;
  exit(): void;
}

/** Schema of the document. The server asks for its text. */
const SCHEMA = { type: "object", properties: { color: { enum: ["red", "green"] } } };

/** Works with a language server from its start to its end. */
async function edit(conn: Connection): Promise<void> {
  const published = gate<{ uri: string; diagnostics: { message: string }[] }>();
  const asked: unknown[] = [];
  const server = rpc<LanguageServer>(conn, {
    codec: json(contentLength()),
    methods: {
      "textDocument/publishDiagnostics": published.open,
      "vscode/content"([uri]: [string]) {
        asked.push(uri);
        return JSON.stringify(SCHEMA);
      },
    },
  });
  const { capabilities } = await server.call("initialize", {
    processId: Deno.pid,
    rootUri: null,
    capabilities: { textDocument: { completion: { completionItem: {} } } },
  });
  assertEquals(capabilities.hoverProvider, true);
  await server.notify("initialized", {});
  await server.notify("workspace/didChangeConfiguration", {
    settings: {
      json: {
        validate: { enable: true },
        schemas: [{ fileMatch: ["*.json"], url: "vscode://schemas/color" }],
      },
    },
  });
  const text = '{"color": }';
  await server.notify("textDocument/didOpen", {
    textDocument: { uri: URI, languageId: "json", version: 1, text },
  });
  const { items } = await server.call("textDocument/completion", {
    textDocument: { uri: URI },
    position: { line: 0, character: text.length - 1 },
  });
  assertEquals(items.map(({ label }) => label).sort(), ['"green"', '"red"']);
  const { uri, diagnostics } = await published.opened;
  assertEquals(uri, URI);
  assertEquals(diagnostics.map(({ message }) => message), ["Value expected"]);
  assertEquals(asked, ["vscode://schemas/color"]);
  assertEquals(await server.call("shutdown"), null);
  await server.notify("exit");
  await server.closed;
}

test("rpc() works with a language server as a child", async () => {
  await using child = await startPeer(PACKAGE, ["--stdio"]);
  await edit(child.conn);
  assertEquals((await child.status).code, 0);
}, { deadline: 60_000 });

test("rpc() works with a language server that connects by --pipe", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  await using listener = await listen(path);
  const [program = "", ...args] = peerCommand(PACKAGE, [`--pipe=${path}`]);
  await using server = new Program(program, args);
  await edit(await listener.accept());
  assertEquals((await server.status).code, 0);
}, { deadline: 60_000 });
