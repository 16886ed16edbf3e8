/**
 * Other programs as servers, as clients and as children. The table in `docs/interop.md` lists what
 * they exchanged. `UDS_UPDATE_DOCS=1 deno task test tests/interop/interop_test.ts` writes it.
 */

import { claim, connect, type Connection, listen, pair, serve } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import { Process } from "../_cli.ts";
import {
  decode,
  denoArgs,
  fixturePath,
  pseudoRandom,
  readAll,
  ROOT,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

/** The side that half-closes first. */
type First = "us" | "the peer";

/** The role of a program. */
type Role = "server" | "client" | "child";

/**
 * A program that sends its standard input to a socket, and prints what it receives. As a child it
 * sends everything back.
 */
interface Peer {
  /** Programs that must be installed. */
  needs: string[];
  /** Its description for each role that it supports. */
  roles: Partial<Record<Role, string>>;
  /** Whether, as a server, it closes at the client's end of file, even with unsent data. */
  endsWithClient?: boolean;
  /** Returns its command line as a server or a client. */
  command(
    role: "server" | "client",
    first: First,
    path: string,
    dir: TempDir,
  ): string[] | Promise<string[]>;
  /**
   * Returns its command line as a child. `path` has an echo server, for programs that only copy.
   */
  child?(path: string, dir: TempDir): string[] | Promise<string[]>;
}

/** Returns the arguments of a peer that sends and receives one after the other, not at once. */
function steps(role: "server" | "client", first: First): string[] {
  return [
    role === "server" ? "listen" : "connect",
    first === "us" ? "receive-first" : "send-first",
  ];
}

/** Returns a command that runs a program with the socket as its standard input and output. */
function onStdio(...command: string[]): string[] {
  return ["sh", "-c", 'exec "$0" "$@" <&3 >&3 3>&-', ...command];
}

/** Compiles a peer. */
async function compile(name: string, dir: TempDir): Promise<string> {
  const program = dir.file("peer");
  const { code, stderr } = await run("gcc", ["-Wall", "-o", program, fixturePath(name)]);
  assertEquals([code, stderr], [0, ""]);
  return program;
}

const PEERS: Record<string, Peer> = {
  Deno: {
    needs: [],
    roles: { server: "`Deno.listen`", client: "`Deno.connect`", child: "`inherited()`" },
    command: (role, first, path) => [
      Deno.execPath(),
      ...denoArgs("peer_pipe.ts", ["-RWN"], [...steps(role, first), path]),
    ],
    child: () => [Deno.execPath(), ...denoArgs("pair_peer.ts", ["--deny-env"], ["echo"])],
  },
  Node: {
    needs: ["node"],
    roles: {
      server: "`net.createServer`",
      client: "`net.connect`",
      child: "`new net.Socket({ fd: 3 })`",
    },
    command: (role, first, path) => [
      "node",
      fixturePath("peer_pipe.mjs"),
      ...steps(role, first),
      path,
    ],
    child: () => ["node", fixturePath("pair_peer.mjs"), "echo"],
  },
  Python: {
    needs: ["python3"],
    roles: {
      server: "`socket.bind`, `accept`",
      client: "`socket.connect`",
      child: "`socket.socket(fileno=3)`",
    },
    command: (role, first, path) => [
      "python3",
      fixturePath("peer_pipe.py"),
      ...steps(role, first),
      path,
    ],
    child: () => ["python3", fixturePath("pair_peer.py"), "echo"],
  },
  C: {
    needs: ["gcc"],
    roles: {
      server: "`bind`, `accept`",
      client: "`connect`",
      child: "`read(3, …)`, `write(3, …)`",
    },
    command: async (role, first, path, dir) => [
      await compile("peer_pipe.c", dir),
      ...steps(role, first),
      path,
    ],
    child: async (_, dir) => [await compile("pair_peer.c", dir), "echo"],
  },
  nc: {
    needs: ["nc"],
    endsWithClient: true,
    roles: {
      server: "`nc -lNU`",
      client: "`nc -NU`",
      child: "`nc -NU` to an echo, by its standard streams",
    },
    command: (role, _, path) => ["nc", role === "server" ? "-lNU" : "-NU", path],
    child: (path) => onStdio("nc", "-NU", path),
  },
  socat: {
    needs: ["socat"],
    roles: { server: "`UNIX-LISTEN`", client: "`UNIX-CONNECT`", child: "`FD:3`" },
    command: (role, _, path) => [
      "socat",
      // How many seconds one direction continues after the end of the other.
      "-t10",
      "-",
      `${role === "server" ? "UNIX-LISTEN" : "UNIX-CONNECT"}:${path}`,
    ],
    child: () => ["socat", "-t10", "FD:3", "EXEC:cat"],
  },
};

/** Returns every value of a byte, then a mebibyte of pseudo-random bytes. */
function sample(seed: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(256 + 1024 * 1024);
  for (let i = 0; i < 256; i++) data[i] = i;
  data.set(pseudoRandom(1024 * 1024, seed), 256);
  return data;
}

/** Fails without a listing of a million bytes if they differ. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** Waits for a peer to end, checks its exit code, and returns its output. */
async function printed(peer: Process): Promise<Uint8Array> {
  const { code, stdout, stderr } = await peer.ended;
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

/** Sends and receives one after the other. The first step ends with an end of file. */
async function exchange(
  conn: Connection,
  first: First,
  data: Uint8Array,
): Promise<Uint8Array> {
  if (first === "the peer") {
    const received = await readAll(conn);
    await conn.write(data);
    await conn.closeWrite();
    return received;
  }
  await conn.write(data);
  await conn.closeWrite();
  return await readAll(conn);
}

/** Sends and receives at the same time. */
async function exchangeAtOnce(conn: Connection, data: Uint8Array): Promise<Uint8Array> {
  const sent = conn.write(data).then(() => conn.closeWrite());
  const received = await readAll(conn);
  await sent;
  return received;
}

/** What was exchanged, by peer and role, with the side that half-closed first. */
const exchanged = new Map<string, Map<string, First[]>>();

function record(name: string, role: Role, what: string, first?: First): void {
  const key = `${name} ${role}`;
  const all = exchanged.get(key) ?? new Map<string, First[]>();
  exchanged.set(key, all);
  all.set(what, [...all.get(what) ?? [], ...(first === undefined ? [] : [first])]);
}

/** Returns the description of what was exchanged. */
function descriptionOf(name: string, role: Role): string {
  const all = exchanged.get(`${name} ${role}`);
  if (all === undefined) throw new Error(`Run all tests of this file: no ${name} as a ${role}`);
  return [...all].map(([what, firsts]) => {
    if (firsts.length === 0) return what;
    return `${what}, ${firsts.length === 2 ? "whichever side" : firsts[0]} ends first`
      .replace("us ends", "we end").replace("the peer ends", "it ends");
  }).join("; ");
}

function bytes(data: Uint8Array): string {
  return `${data.length.toLocaleString("en")} bytes`;
}

const OURS = sample(1);
const THEIRS = sample(2);

for (const [name, peer] of Object.entries(PEERS)) {
  const { needs, command, child } = peer;
  for (const first of ["us", "the peer"] as const) {
    const half = first === "us" ? "we half-close" : "it half-closes";
    test(
      `listen() serves ${name}, byte for byte, when ${half} first`,
      async () => {
        await using dir = new TempDir();
        const path = dir.file("i.sock");
        await using listener = await listen(path);
        await using peer = new Process(await command("client", first, path, dir), {
          input: THEIRS,
        });
        await using conn = await listener.accept();
        assertSameBytes(await exchange(conn, first, OURS), THEIRS);
        assertSameBytes(await printed(peer), OURS);
        await conn.closed;
        record(name, "client", `${bytes(OURS)} each way`, first);
      },
      { needs },
    );

    if (first === "us" && peer.endsWithClient) continue;
    test(
      `connect() talks to ${name}, byte for byte, when ${half} first`,
      async () => {
        await using dir = new TempDir();
        const path = dir.file("i.sock");
        await using peer = new Process(await command("server", first, path, dir), {
          input: THEIRS,
        });
        await using conn = await connect({ path, wait: true, timeout: Infinity });
        assertSameBytes(await exchange(conn, first, OURS), THEIRS);
        assertSameBytes(await printed(peer), OURS);
        await conn.closed;
        record(name, "server", `${bytes(OURS)} each way`, first);
      },
      { needs },
    );
  }

  if (child === undefined) continue;
  test(`pair() talks to ${name} as a child, byte for byte`, async () => {
    await using dir = new TempDir();
    const path = dir.file("i.sock");
    await using _echo = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
    const [program = "", ...args] = await child(path, dir);
    await using running = await pair(program, { args });
    assertSameBytes(await exchangeAtOnce(running.conn, OURS), OURS);
    assertEquals((await running.status).code, 0);
    record(name, "child", `${bytes(OURS)}, and back`);
  }, { needs });
}

test("connect() sends to nc -lU, byte for byte, until nc ends at our end of file", async () => {
  await using dir = new TempDir();
  const path = dir.file("i.sock");
  await using peer = new Process(["nc", "-lU", path], { input: "" });
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  assertEquals((await exchange(conn, "us", OURS)).length, 0);
  assertSameBytes(await printed(peer), OURS);
  await conn.closed;
  record("nc", "server", `${bytes(OURS)} to it`, "us");
}, { needs: ["nc"] });

/** Serves HTTP on a path, and answers with the body of the request. */
async function serveHttp(path: string): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const owned = stack.use(await claim(path));
  stack.use(
    await owned.bind(() =>
      Deno.serve({ path, onListen() {} }, async (request) => new Response(await request.bytes()))
    ),
  );
  return stack;
}

test("curl posts to HTTP on a claimed path, byte for byte", async () => {
  await using dir = new TempDir();
  const path = dir.file("i.sock");
  await using _server = await serveHttp(path);
  const post = ["curl", "-sS", "--unix-socket", path, "--data-binary", "@-", "http://localhost/"];
  await using peer = new Process(post, { input: OURS });
  assertSameBytes(await printed(peer), OURS);
  record("curl", "client", `an HTTP request of ${bytes(OURS)}, and the same back`);
}, { needs: ["curl"] });

test(
  "pair() talks to curl, byte for byte: it posts its input and returns the reply",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("i.sock");
    await using _server = await serveHttp(path);
    const [program = "", ...args] = onStdio(
      "curl",
      "-sS",
      "--unix-socket",
      path,
      "--data-binary",
      "@-",
      "http://localhost/",
    );
    await using running = await pair(program, { args });
    assertSameBytes(await exchangeAtOnce(running.conn, OURS), OURS);
    assertEquals((await running.status).code, 0);
    record("curl", "child", `${bytes(OURS)}, and back by HTTP`);
  },
  { needs: ["curl"] },
);

const ROLES: [role: Role, heading: string][] = [
  ["server", "as a server, to `connect()`"],
  ["client", "as a client, of `listen()`"],
  ["child", "as a child, of `pair()`"],
];

const CURL: Peer["roles"] = {
  client: "`curl --unix-socket`, of `Deno.serve` on a path of `claim()`",
  child: "`curl --data-binary @-`, by its standard streams",
};

/** The peers of the tests of calls. */
const CALLS: [program: string, role: string, exchanged: string][] = [
  [
    "`vscode-jsonrpc`",
    "a server, to `rpcClient()`",
    "1,000 calls at once, a text of 600 KB, 100 calls back, errors with data, a cancellation",
  ],
  [
    "`vscode-jsonrpc`",
    "a client, of `serve()`",
    "1,000 calls at once, a text of 600 KB, calls back, errors with data, a cancellation",
  ],
  [
    "`vscode-json-languageserver`",
    "a child, of `pair()`",
    "initialize, open, diagnostics, a schema that it asks for, completion, shutdown, exit",
  ],
  ["`vscode-json-languageserver --pipe`", "a client, of `listen()`", "the same"],
  [
    "`@modelcontextprotocol/server-memory`",
    "a child, of `pair()`",
    "initialize, ping, the list of tools, 101 calls of tools, an unknown method",
  ],
  [
    "the client of `@modelcontextprotocol/sdk`",
    "a child, of `pair()`",
    "initialize, the list of tools, 203 calls of tools, progress, a call back, an error",
  ],
];

/** Returns the content of the page. */
function page(): string {
  const peers = { ...PEERS, curl: { roles: CURL } };
  const rows = Object.entries(peers).map(([name, { roles }]) =>
    [
      name,
      ...ROLES.map(([role]) => {
        const what = roles[role];
        if (what === undefined) return "it is not a server";
        return `${what}: ${descriptionOf(name, role)}`;
      }),
    ].join(" | ")
  );
  return `# Interoperability

Programs that do not use uds and have talked to it, with what they exchanged, compared byte for byte:
all 256 values of a byte, then a mebibyte of random ones. \`tests/interop/interop_test.ts\` does this in
every run, and fails if this page differs.
\`UDS_UPDATE_DOCS=1 deno task test tests/interop/interop_test.ts\` writes the page.

| | ${ROLES.map(([, heading]) => heading).join(" | ")} |
| --- | --- | --- | --- |
${rows.map((row) => `| ${row} |`).join("\n")}

“Whichever side ends first”: it was tried both ways, with one side ending its direction before the other
side begins. As a server, \`nc\` ends as soon as its client ends its direction, even with bytes to send.
The command line, \`uds\`, passes 64 MiB through \`connect\`, \`listen\`, \`send\` and \`run\` with \`nc\`, \`socat\` and Python
at the other end (\`tests/cli/pipe_test.ts\`).

## Calls

What \`rpc()\` and \`rpcClient()\` exchange with programs from npm, in \`tests/interop/rpc_*_test.ts\`:

| program | its role | what was exchanged |
| --- | --- | --- |
${CALLS.map((row) => `| ${row.join(" | ")} |`).join("\n")}
`;
}

test("docs/interop.md lists what was exchanged", async () => {
  const file = join(ROOT, "docs/interop.md");
  await using format = new Process([Deno.execPath(), "fmt", "--quiet", "--ext", "md", "-"], {
    input: page(),
    cwd: ROOT,
  });
  const text = decode(await printed(format));
  if (Deno.env.get("UDS_UPDATE_DOCS") === "1") await Deno.writeTextFile(file, text);
  assertEquals(await Deno.readTextFile(file), text);
}, { needs: ["nc", "socat", "curl", "python3", "node", "gcc"] });
