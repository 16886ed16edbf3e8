import {
  connect,
  ConnectDenied,
  listen,
  NotASocket,
  NothingListening,
  serve,
  SocketNotFound,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { fixture, makeStale, Program, readAll, TempDir, test } from "../_helpers.ts";
import { assertNoConnection, flags, limited, refusal, start } from "./_client.ts";

interface Refusal {
  prepare(dir: TempDir): Promise<unknown>;
  /** The name in the directory to connect to; `x.sock` by default. */
  at?: string;
  Class: new (...args: never[]) => Error;
  /** Deno's class of the cause. The error is an instance of it as well. */
  Base: new (...args: never[]) => Error;
  code: string;
  says: string;
}

const refusals: Record<string, Refusal> = {
  "SocketNotFound where there is nothing": {
    prepare: () => Promise.resolve(),
    Class: SocketNotFound,
    Base: Deno.errors.NotFound,
    code: "ENOENT",
    says: "there is no such file. Start the server first",
  },
  "SocketNotFound where the directory is missing": {
    prepare: () => Promise.resolve(),
    at: "absent/x.sock",
    Class: SocketNotFound,
    Base: Deno.errors.NotFound,
    code: "ENOENT",
    says: "there is no such file. Start the server first",
  },
  "SocketNotFound at a symbolic link to nothing": {
    prepare: (dir) => Deno.symlink("absent.sock", dir.file("x.sock")),
    Class: SocketNotFound,
    Base: Deno.errors.NotFound,
    code: "ENOENT",
    says: "it is a symbolic link that leads to nothing. Start the server there",
  },
  "NothingListening at a stale file": {
    prepare: (dir) => makeStale(dir.file("x.sock")),
    Class: NothingListening,
    Base: Deno.errors.ConnectionRefused,
    code: "ECONNREFUSED",
    says: "no server listens on it; the file was left behind by a server that has ended. " +
      "Start the server",
  },
  "NotASocket at a regular file": {
    prepare: (dir) => Deno.writeTextFile(dir.file("x.sock"), "precious"),
    Class: NotASocket,
    Base: Deno.errors.ConnectionRefused,
    code: "ECONNREFUSED",
    says: "it is a regular file. Choose the path of a socket",
  },
  "NotASocket at a directory": {
    prepare: (dir) => Deno.mkdir(dir.file("x.sock")),
    Class: NotASocket,
    Base: Deno.errors.ConnectionRefused,
    code: "ECONNREFUSED",
    says: "it is a directory. Choose the path of a socket",
  },
  "NotASocket at a symbolic link to a regular file": {
    prepare: async (dir) => {
      await Deno.writeTextFile(dir.file("text"), "precious");
      await Deno.symlink("text", dir.file("x.sock"));
    },
    Class: NotASocket,
    Base: Deno.errors.ConnectionRefused,
    code: "ECONNREFUSED",
    says: "it is a regular file. Choose the path of a socket",
  },
  "NotADirectory below a regular file": {
    prepare: (dir) => Deno.writeTextFile(dir.file("text"), ""),
    at: "text/x.sock",
    Class: Deno.errors.NotADirectory,
    Base: Deno.errors.NotADirectory,
    code: "ENOTDIR",
    says: "a part of the path is not a directory",
  },
  "FilesystemLoop at a symbolic link to itself": {
    prepare: (dir) => Deno.symlink("x.sock", dir.file("x.sock")),
    Class: Deno.errors.FilesystemLoop,
    Base: Deno.errors.FilesystemLoop,
    code: "ELOOP",
    says: "the path has too many symbolic links, or one on a file system that follows none",
  },
};

for (
  const [name, { prepare, at = "x.sock", Class, Base, code, says }] of Object.entries(refusals)
) {
  test(`connect() rejects with ${name}`, async () => {
    await using dir = new TempDir();
    await prepare(dir);
    const path = dir.file(at);
    const error = await refusal(connect(path));
    assertInstanceOf(error, Class);
    // A file that is not a socket differs from a server that refuses.
    assertEquals(error instanceof Base, !name.startsWith("NotASocket"));
    assertEquals([error.name, error.path, error.code], [Class.name, path, code]);
    assertEquals(error.message, start(path) + says);
    assertInstanceOf(error.cause, Base);
  });
}

test("connect() rejects with NothingListening at an abstract name without a server", async () => {
  const path = `\0uds-absent-${Deno.pid}-${Math.random()}`;
  const error = await refusal(connect(path));
  assertInstanceOf(error, NothingListening);
  assertEquals([error.path, error.code], [path, "ECONNREFUSED"]);
  assertEquals(
    error.message,
    `Cannot connect to "@${path.slice(1)}": no server listens on it. Start the server`,
  );
});

for (const [type, name] of [["SOCK_DGRAM", "datagram"], ["SOCK_SEQPACKET", "seqpacket"]]) {
  test(`connect() rejects with NotASocket at a ${name} socket`, async () => {
    await using dir = new TempDir();
    const path = dir.file("d.sock");
    const code = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.${type})
s.bind(sys.argv[1])
if "${name}" == "seqpacket": s.listen()
print("ready", flush=True)
sys.stdin.read()`;
    await using peer = new Program("python3", ["-c", code, path], { stdin: "piped" });
    assertEquals(await peer.line(), "ready");
    const error = await refusal(connect(path));
    assertInstanceOf(error, NotASocket);
    assertEquals([error.name, error.path, error.code], ["NotASocket", path, "ENOTSOCK"]);
    assertEquals(
      error.message,
      `${start(path)}it is a datagram or sequenced-packet socket. ` +
        `Use connectPackets() of @uds/uds/native`,
    );
    assertInstanceOf(error.cause, Error);
    await peer.stdin.close();
    assertEquals((await peer.status).code, 0);
  }, { needs: ["python3"] });
}

const NOBODY = 65534;

/** Returns the error of a program that connects as the user `nobody`. */
async function refusalOfNobody(path: string) {
  const sys = ["--allow-sys", ...flags(path)];
  await using program = fixture("client_refused.ts", sys, [path, String(NOBODY)]);
  const error = JSON.parse(await program.line());
  assertEquals((await program.status).code, 0);
  return error;
}

test(
  "connect() rejects with ConnectDenied, mode and owner where the file refuses the user",
  async () => {
    await using dir = new TempDir(0o755);
    const path = dir.file("private.sock");
    await using listener = await listen(path);
    await Deno.chown(path, 4711, 4712);
    assertEquals(await refusalOfNobody(path), {
      name: "ConnectDenied",
      message: `${start(path)}its mode 0600 and owner 4711:4712 do not let this process write, ` +
        `which connecting needs. Run as that user or in that group, or have the server widen the mode`,
      operation: "connect",
      path,
      code: "EACCES",
      mode: 0o600,
      uid: 4711,
      gid: 4712,
      isDenied: true,
      cause: "PermissionDenied",
      open: 0,
    });
    await assertNoConnection(listener);
  },
  { root: true },
);

test(
  "connect() rejects with ConnectDenied where a directory refuses the user",
  async () => {
    await using dir = new TempDir(0o700);
    const path = dir.file("open.sock");
    await using listener = await listen({ path, mode: 0o666 });
    assertEquals(await refusalOfNobody(path), {
      name: "ConnectDenied",
      message: `${start(path)}a directory on the way denies it`,
      operation: "connect",
      path,
      code: "EACCES",
      isDenied: true,
      cause: "PermissionDenied",
      open: 0,
    });
    await assertNoConnection(listener);
  },
  { root: true },
);

test("ConnectDenied is an instance of PermissionDenied with its name and fields", () => {
  const fields = { operation: "connect", path: "/run/x.sock", mode: 0o600, uid: 1, gid: 2 };
  const error = new ConnectDenied("denied", fields);
  assertInstanceOf(error, Deno.errors.PermissionDenied);
  assertEquals([error.name, error.code], ["ConnectDenied", "EACCES"]);
  assertEquals([error.mode, error.uid, error.gid], [0o600, 1, 2]);
  assert(!("cause" in error));
});

test("connect() names the limit to raise when this process has no descriptor left", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  await using server = await serve(path, (conn) => readAll(conn));
  await using program = limited(64, "client_refused.ts", flags(path), [path]);
  const error = JSON.parse(await program.line());
  assertEquals([error.name, error.operation, error.path], ["Error", "connect", path]);
  assertEquals([error.code, error.cause], ["EMFILE", "Error"]);
  assertEquals(
    error.message,
    `${start(path)}this process has too many open files. Raise its limit (ulimit -n)`,
  );
  assert(error.open > 10, `only ${error.open} connections were open`);
  assertEquals((await program.status).code, 0);
  assertEquals((await server.shutdown()).aborted, 0);
});

test(
  "connect() without permission rejects with NotCapable and the flags",
  async () => {
    const path = "/run/uds-test.sock";
    const error = await refusal(connect(path));
    assertInstanceOf(error, Deno.errors.NotCapable);
    assertEquals(error.path, path);
    assertEquals(
      error.message,
      `${start(path)}a Deno permission is missing. Run again with ` +
        `--allow-read=${path} --allow-write=${path} --allow-net=unix:${path}`,
    );
  },
  { permissions: "none" },
);
