import { ConnectDenied, NotASocket, SocketInUse } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { makeStale, Program, run, TempDir, test } from "../_helpers.ts";
import { asNobody, assertRefused, look, operationOf, OWNERS } from "./_claim.ts";

interface Thing extends AsyncDisposable {
  says: string;
  /** `NotASocket` unless it says otherwise. */
  is?: typeof SocketInUse;
}

const thing = (says: string, dispose = () => {}): Thing => ({
  says,
  [Symbol.asyncDispose]: () => Promise.resolve(dispose()),
});

/** Files that may be at the path instead of a socket. */
const THINGS: Record<string, (path: string) => Promise<Thing> | Thing> = {
  "a regular file": (path) => {
    Deno.writeTextFileSync(path, "precious");
    return thing("it is a regular file, which was left untouched");
  },
  "an empty file": (path) => {
    Deno.writeTextFileSync(path, "");
    return thing("it is a regular file, which was left untouched");
  },
  "a directory": (path) => {
    Deno.mkdirSync(path);
    Deno.writeTextFileSync(`${path}/inside`, "precious");
    return thing("it is a directory, which was left untouched");
  },
  "a symbolic link to a live socket": (path) => {
    const listener = Deno.listen({ transport: "unix", path: `${path}.live` });
    Deno.symlinkSync(`${path}.live`, path);
    return thing("it is a symbolic link, which was left untouched", () => listener.close());
  },
  "a symbolic link to a stale socket": async (path) => {
    await makeStale(`${path}.stale`);
    Deno.symlinkSync(`${path}.stale`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a symbolic link to a file": (path) => {
    Deno.writeTextFileSync(`${path}.file`, "precious");
    Deno.symlinkSync(`${path}.file`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a dangling symbolic link": (path) => {
    Deno.symlinkSync(`${path}.nothing`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a fifo": async (path) => {
    assertEquals((await run("mkfifo", [path])).code, 0);
    return thing("it is a fifo, which was left untouched");
  },
  "a live datagram socket": async (path) => {
    const server = python(
      "import socket, sys\n" +
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n" +
        "s.bind(sys.argv[1])\n" +
        "print('ready', flush=True)\n" +
        "print(s.recv(100).decode(), flush=True)\n",
      [path],
    );
    await server.line();
    return {
      says:
        "a process that does not use its lock has a datagram or sequenced-packet socket there. " +
        "Stop that one first, or choose another path",
      is: SocketInUse,
      async [Symbol.asyncDispose]() {
        await using _server = server;
        const script = "import socket, sys\n" +
          "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'still here', sys.argv[1])\n";
        assertEquals((await run("python3", ["-c", script, path])).code, 0);
        assertEquals(await server.line(), "still here");
      },
    };
  },
};

function python(script: string, args: string[]): Program {
  return new Program("python3", ["-c", script, ...args]);
}

for (const [what, make] of Object.entries(THINGS)) {
  const needs = what.includes("datagram") ? ["python3"] : what.includes("fifo") ? ["mkfifo"] : [];
  test(
    `claim(), listen() and serve() refuse ${what} at the path, and do not touch it`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using made = await make(path);
      const files = dir.list();
      const before = files.map((file) => look(dir.file(file)));
      for (const [name, own] of Object.entries(OWNERS)) {
        for (const existing of ["reclaim", "fail"] as const) {
          // A datagram socket is a socket too: only a connection shows that it has the wrong type.
          if (what.includes("datagram") && existing === "fail") continue;
          await assertRefused(() => own(path, { existing }), {
            is: made.is ?? NotASocket,
            says: made.says,
            operation: operationOf(name),
            path,
            code: made.is === undefined ? "ENOTSOCK" : "EADDRINUSE",
          });
        }
      }
      assertEquals(dir.list(), files);
      assertEquals(files.map((file) => look(dir.file(file))), before);
    },
    { needs },
  );
}

test("claim() refuses a socket that it may not connect to, with mode and owner", async () => {
  await using dir = new TempDir(0o777);
  const path = dir.file("a.sock");
  await makeStale(path);
  Deno.chmodSync(path, 0o600);
  const before = look(path);
  const { message, ...fields } = await asNobody("claim()", path);
  assertEquals(fields, {
    name: ConnectDenied.name,
    operation: "claim",
    path,
    code: "EACCES",
    mode: 0o600,
    uid: 0,
    gid: 0,
  });
  assertStringIncludes(`${message}`, "a socket of uid 0 with mode 0600 is there");
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock"]);
}, { root: true });
