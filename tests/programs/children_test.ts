import { connect, type Connection, contentLength, json, pair, RpcError } from "@uds/uds";
import { rpc, RPC_CODES } from "@uds/uds/rpc";
import { assertEquals, assertRejects } from "@std/assert";
import { fixturePath, gate, pseudoRandom, readAll, run, TempDir, test } from "../_helpers.ts";
import { checked, endUds, missingModules, startUds, UserDir } from "./_programs.ts";

for (
  const [name, versionOf, command] of [
    ["Node, `net.Socket`", ["node", "--version"], () => ["node", fixturePath("pair_peer.mjs")]],
    ["Python, `socket`", ["python3", "--version"], () => [
      "python3",
      fixturePath("pair_peer.py"),
    ]],
    ["a C program of gcc", ["gcc", "--version"], async (dir: UserDir) => {
      await run("gcc", ["-o", dir.file("peer"), fixturePath("pair_peer.c")]);
      return [dir.file("peer")];
    }],
  ] as const
) {
  test(`pair() exchanges 20 MB with ${name}`, async () => {
    await using dir = new UserDir();
    const [program = "", ...args] = await command(dir);
    await using child = await pair(program, { args: [...args, "echo"] });
    const data = pseudoRandom(20_000_000, 5);
    const sent = child.conn.write(data).then(() => child.conn.closeWrite());
    const received = await readAll(child.conn);
    await sent;
    assertEquals(received.every((byte, i) => byte === data[i]), true);
    assertEquals([received.length, (await child.status).code], [data.length, 0]);
    const what = "20 MB there and back at descriptor 3, the end of file, its status";
    await checked(name, [...versionOf], "`pair()`", what);
  }, { needs: [versionOf[0]], deadline: 30_000 });
}

interface LanguageServer {
  initialize(params: object): { capabilities: Record<string, unknown> };
  initialized(params: object): void;
  "textDocument/didOpen"(params: object): void;
  "textDocument/hover"(params: object): { contents: unknown };
  "absent/method"(params: object): never;
  shutdown(): null;
  exit(): void;
}

/** Works with a language server of TypeScript until its end. */
async function edit(conn: Connection): Promise<void> {
  const published = gate<{ diagnostics: { message: string }[] }>();
  const server = rpc<LanguageServer>(conn, {
    codec: json(contentLength()),
    methods: {
      "textDocument/publishDiagnostics"(params: { diagnostics: { message: string }[] }) {
        if (params.diagnostics.length > 0) published.open(params);
      },
      "workspace/configuration": ({ items }: { items: unknown[] }) =>
        items.map(() => ({ enable: true })),
      "client/registerCapability": () => null,
    },
  });
  const { capabilities } = await server.call("initialize", {
    processId: Deno.pid,
    rootUri: null,
    capabilities: { workspace: { configuration: true } },
    initializationOptions: { enable: true },
  });
  assertEquals(capabilities.hoverProvider, true);
  await server.notify("initialized", {});
  const uri = "file:///tmp/absent/colors.ts";
  const text = 'const color: number = "red";\n';
  await server.notify("textDocument/didOpen", {
    textDocument: { uri, languageId: "typescript", version: 1, text },
  });
  const position = { line: 0, character: 6 };
  const hover = await server.call("textDocument/hover", { textDocument: { uri }, position });
  assertEquals(JSON.stringify(hover.contents).includes("const color: number"), true);
  const { diagnostics } = await published.opened;
  assertEquals(diagnostics.some(({ message }) => message.includes("not assignable")), true);
  const error = await assertRejects(() => server.call("absent/method", {}), RpcError);
  assertEquals(error.code, RPC_CODES.METHOD_NOT_FOUND);
  assertEquals(await server.call("shutdown"), null);
  await server.notify("exit");
  await server.closed;
}

const EDITED = "a document opened, hovered, diagnosed, an error, the end";
const SHOWN = "the same, and the tap shows each call";

test("rpc() works with Deno's language server as a child", async () => {
  const args = ["lsp", "--quiet"];
  await using child = await pair(Deno.execPath(), { args, socket: "stdio", stderr: "null" });
  await edit(child.conn);
  assertEquals((await child.status).code, 0);
  const way = '`pair()` with `socket: "stdio"`, `rpc()`';
  await checked("Deno's language server", [Deno.execPath(), "--version"], way, EDITED);
}, { deadline: 60_000 });

test("rpc() works with Deno's language server over uds serve, through uds tap", async () => {
  await using dir = new TempDir();
  const [path, tapped] = [dir.file("lsp.sock"), dir.file("tapped.sock")];
  await using server = await startUds("serve", path, "--", Deno.execPath(), "lsp", "--quiet");
  await edit(await connect(path));
  await using tap = await startUds("tap", "--framing", "content-length", tapped, path);
  await edit(await connect(tapped));
  const sent = (await endUds(tap)).trimEnd().split("\n").map((line) => JSON.parse(line))
    .filter(({ event, direction }) => event === "data" && direction === "to-target")
    .map(({ text }) => JSON.parse(text).method).filter((method) => method !== undefined);
  assertEquals(sent, [
    "initialize",
    "initialized",
    "textDocument/didOpen",
    "textDocument/hover",
    "absent/method",
    "shutdown",
    "exit",
  ]);
  await endUds(server);
  const version = [Deno.execPath(), "--version"];
  await checked("Deno's language server", version, "`uds serve`, `connect()`, `rpc()`", EDITED);
  await checked("Deno's language server", version, "`uds serve`, `uds tap`, `rpc()`", SHOWN);
}, { deadline: 60_000 });

const PYLSP = `
import socket, sys
from pylsp_jsonrpc.dispatchers import MethodDispatcher
from pylsp_jsonrpc.endpoint import Endpoint
from pylsp_jsonrpc.exceptions import JsonRpcException
from pylsp_jsonrpc.streams import JsonRpcStreamReader, JsonRpcStreamWriter
from importlib.metadata import version
conn = socket.socket(fileno=3)
conn.setblocking(True)
file = conn.makefile("rwb")
class Methods(MethodDispatcher):
    def m_add(self, a=0, b=0): return a + b
    def m_upper(self, text=""): return text.upper()
    def m_version(self): return version("python-lsp-jsonrpc")
    def m_fail(self): raise JsonRpcException("as asked", 4711, {"why": "grün"})
    def m_double(self, n=0):
        def later(): return 2 * asked.result(10)
        asked = endpoint.request("half", [n])
        return later
writer = JsonRpcStreamWriter(file)
endpoint = Endpoint(Methods(), writer.write)
JsonRpcStreamReader(file).listen(endpoint.consume)
`;

interface Python {
  add(params: { a: number; b: number }): number;
  upper(params: { text: string }): string;
  double(params: { n: number }): number;
  version(): string;
  fail(): never;
  absent(): never;
}

test("rpc() calls Python's JSON-RPC of language servers, and is called", async () => {
  // It prints the errors that it sends.
  await using child = await pair("/usr/bin/python3", { args: ["-c", PYLSP], stderr: "null" });
  let halves = 0;
  const python = rpc<Python>(child.conn, {
    codec: json(contentLength()),
    methods: {
      half([n]: [number]) {
        halves++;
        return n / 2;
      },
    },
  });
  const sums = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => python.call("add", { a: i, b: 1 })),
  );
  assertEquals(sums, Array.from({ length: 1000 }, (_, i) => i + 1));
  const text = "grün 😀 ".repeat(50_000);
  assertEquals(await python.call("upper", { text }), text.toUpperCase());
  for (let n = 0; n < 20; n++) assertEquals(await python.call("double", { n }), n);
  assertEquals(halves, 20);
  const failed = await assertRejects(() => python.call("fail"), RpcError);
  assertEquals([failed.code, failed.message, failed.data], [4711, "as asked", { why: "grün" }]);
  const absent = await assertRejects(() => python.call("absent"), RpcError);
  assertEquals(absent.code, RPC_CODES.METHOD_NOT_FOUND);
  const version = await python.call("version");
  await child.conn.closeWrite();
  assertEquals((await child.status).code, 0);
  const what = "1,000 calls at once, 450 KB of text, 20 calls back, two errors";
  await checked("JSON-RPC, python3-pylsp-jsonrpc", ["echo", version], "`pair()`, `rpc()`", what);
}, { needs: missingModules("pylsp_jsonrpc"), deadline: 30_000 });
