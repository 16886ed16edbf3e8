import { NotASocket, NothingListening, permissionFlags, serve, SocketNotFound } from "@uds/uds";
import { bindLongPath, connectLongPath, nativePermissions } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import "./_libc.ts";
import {
  decode,
  fixture,
  isPending,
  openDescriptors,
  readAll,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

const DEEP = "d".repeat(100);

/** A directory with a path of more than 200 bytes. */
class DeepDir extends TempDir {
  readonly deep: string = this.file(`${DEEP}/${DEEP}`);

  constructor() {
    super();
    Deno.mkdirSync(this.deep, { recursive: true });
  }
}

test("connectLongPath() reaches what bindLongPath() has bound", async () => {
  await using dir = new DeepDir();
  const path = `${dir.deep}/a.sock`;
  {
    using bound = bindLongPath(path);
    assertEquals(bound.path, path);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    await assertRejects(() => connectLongPath(path), NothingListening, "no server listens on it");
    await using _server = await serve({ fd: bound.fd }, async (conn) => {
      await conn.write(new TextEncoder().encode("hello"));
    });
    await using conn = await connectLongPath({ path, owner: Deno.uid()! });
    assertEquals(decode(await readAll(conn)), "hello");
    assertEquals(conn.remoteAddr, { transport: "unix", path });
  }
  assertEquals([...Deno.readDirSync(dir.deep)], []);
});

test("closed of connectLongPath() resolves after the peer's end", async () => {
  await using dir = new DeepDir();
  using bound = bindLongPath(`${dir.deep}/a.sock`);
  await using _server = await serve({ fd: bound.fd }, async (conn) => {
    await conn.closeWrite();
    await conn.read(new Uint8Array(1));
  });
  using conn = await connectLongPath(bound.path);
  const { closed } = conn;
  assertEquals(decode(await readAll(conn)), "");
  assert(await isPending(closed));
  await conn.write(new Uint8Array(1));
  await closed;
});

test("a program in C reaches the socket by its directory", async () => {
  await using dir = new DeepDir();
  using bound = bindLongPath({ path: `${dir.deep}/a.sock`, mode: 0o666 });
  assertEquals(Deno.statSync(bound.path).mode! & 0o777, 0o666);
  await using _server = await serve({ fd: bound.fd }, async (conn) => {
    await conn.write(new TextEncoder().encode("hello"));
  });
  const { stdout } = await run("sh", ["-c", `cd ${dir.deep} && socat - UNIX-CONNECT:a.sock`], "");
  assertEquals(stdout, "hello");
}, { needs: ["socat"] });

test("bindLongPath() refuses a path that is taken, and leaves it alone", async () => {
  await using dir = new DeepDir();
  const path = `${dir.deep}/a.sock`;
  using _bound = bindLongPath(path);
  const before = openDescriptors();
  const message = `Cannot bind "${path}": a file is there`;
  const error = assertThrows(() => bindLongPath(path), Deno.errors.AddrInUse, message);
  const { operation, code } = error as Error & Record<string, unknown>;
  assertEquals({ operation, code }, { operation: "bindLongPath", code: "EADDRINUSE" });
  assertEquals(openDescriptors(), before);
  assertEquals(Deno.statSync(path).isSocket, true);
});

test("connectLongPath() refuses as connect() does", async () => {
  await using dir = new DeepDir();
  await assertRejects(() => connectLongPath(`${dir.deep}/none`), SocketNotFound);
  await assertRejects(() => connectLongPath(`${dir.deep}/none/a.sock`), SocketNotFound);
  Deno.writeTextFileSync(`${dir.deep}/file`, "");
  await assertRejects(() => connectLongPath(`${dir.deep}/file`), NotASocket);
  const long = `${dir.deep}/${"n".repeat(86)}`;
  await assertRejects(() => connectLongPath(long), RangeError, "has 86 bytes, and at most 85");
  for (const path of ["", "a/", "a\0b", new URL("http://a/b")]) {
    await assertRejects(() => connectLongPath(path), TypeError, "Invalid socket path");
  }
});

test("BoundLongPath.close() leaves another file, and a number that was used again", async () => {
  await using dir = new DeepDir();
  const path = `${dir.deep}/a.sock`;
  const bound = bindLongPath(path);
  const server = await serve({ fd: bound.fd }, () => Promise.resolve());
  await server.shutdown();
  Deno.removeSync(path);
  using other = bindLongPath(path);
  assertEquals(other.fd, bound.fd);
  bound.close();
  bound.close();
  await using _server = await serve({ fd: other.fd }, () => Promise.resolve());
  await using conn = await connectLongPath(path);
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

test("a long path needs the permissions of a short one, and libc", async () => {
  await using dir = new DeepDir();
  const path = `${dir.deep}/a.sock`;
  const socket = { read: [path], write: [path], net: [`unix:${path}`] };
  const flags = permissionFlags({ ...socket, ...nativePermissions() });
  const line = async (flags: string[]) => {
    await using program = fixture("native_long_path.ts", flags, [path]);
    return await program.line();
  };
  const [enough, without] = await Promise.all([
    line(flags),
    line(flags.filter((flag) => !flag.startsWith("--allow-net"))),
  ]);
  const missing = `Run again with --allow-net=unix:${path}`;
  assertEquals([enough, without], [
    "hello",
    `Cannot bind "${path}": a Deno permission is missing. ${missing}`,
  ]);
});

test("a long path below /proc needs all permissions, as a short one does", async () => {
  await using dir = new DeepDir();
  const path = `/proc/self/root${dir.deep}/a.sock`;
  const flags = permissionFlags({ read: true, write: true, net: true, ...nativePermissions() });
  await using program = fixture("native_long_path.ts", flags, [path]);
  assertEquals(
    await program.line(),
    `Cannot bind "${path}": a Deno permission is missing. Run again with --allow-all`,
  );
});
