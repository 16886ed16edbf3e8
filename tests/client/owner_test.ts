import { connect, InsecurePath, listen, SocketNotFound } from "@uds/uds";
import { assertEquals, assertInstanceOf } from "@std/assert";
import { encode, makeStale, openDescriptors, readText, TempDir, test, turn } from "../_helpers.ts";
import { assertNoConnection, refusal, start } from "./_client.ts";

const UID = Deno.uid()!;

for (const [name, owner] of Object.entries({ "the owner": UID, "a list": [UID + 1, UID] })) {
  test(`connect() connects where ${name} owns the file`, async () => {
    await using dir = new TempDir();
    await using listener = await listen(dir.file("o.sock"));
    using client = await connect({ path: dir.file("o.sock"), owner });
    using server = await listener.accept();
    await server.write(encode("secret"));
    assertEquals(await readText(client), "secret");
  });
}

for (
  const [name, owner, said] of [
    ["another user", UID + 1, `only ${UID + 1} is trusted`],
    ["nobody of a list", [UID + 1, UID + 2], `only ${UID + 1} or ${UID + 2} is trusted`],
  ] as const
) {
  test(`connect() refuses a file that should belong to ${name}, without a connection`, async () => {
    await using dir = new TempDir();
    const path = dir.file("o.sock");
    await using listener = await listen(path);
    const error = await refusal(connect({ path, owner: owner as number | number[] }));
    assertInstanceOf(error, InsecurePath);
    assertInstanceOf(error, Deno.errors.PermissionDenied);
    assertEquals([error.name, error.path, error.code], ["InsecurePath", path, "EPERM"]);
    assertEquals(error.message, `${start(path)}it belongs to uid ${UID}, and ${said}`);
    await assertNoConnection(listener);
  });
}

test("connect() checks the owner of the file that a symbolic link points at", async () => {
  await using dir = new TempDir();
  await Deno.symlink("real.sock", dir.file("link.sock"));
  await using listener = await listen(dir.file("real.sock"));
  await Deno.chown(dir.file("real.sock"), 4711, null);
  const path = dir.file("link.sock");
  assertInstanceOf(await refusal(connect({ path, owner: UID })), InsecurePath);
  using _client = await connect({ path, owner: 4711 });
  (await listener.accept()).close();
}, { root: true });

test("connect() with owner and wait waits for the file, and then checks its owner", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const connecting = refusal(connect({ path, owner: UID + 1, wait: true }));
  await turn();
  await using listener = await listen(path);
  assertInstanceOf(await connecting, InsecurePath);
  await assertNoConnection(listener);
});

test("connect() with owner drops a connection to a file that was replaced meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  await using listener = await listen(path);
  const before = openDescriptors();
  // The instant between the check and the connection cannot be hit from outside.
  const { connect: original } = Deno;
  Deno.connect = (async (options: Deno.UnixConnectOptions) => {
    const conn = await original(options);
    await Deno.rename(path, dir.file("aside"));
    await makeStale(path);
    return conn;
  }) as typeof Deno.connect;
  try {
    const error = await refusal(connect({ path, owner: UID }));
    assertInstanceOf(error, InsecurePath);
    assertEquals([error.path, error.code], [path, "EPERM"]);
    assertEquals(
      error.message,
      `${start(path)}the file was replaced while connecting. Try again`,
    );
  } finally {
    Deno.connect = original;
  }
  assertEquals(openDescriptors(), before);
  using server = await listener.accept();
  assertEquals(await readText(server), null);
});

test("connect() with owner rejects with SocketNotFound if there is no file", async () => {
  await using dir = new TempDir();
  const error = await refusal(connect({ path: dir.file("absent.sock"), owner: UID }));
  assertInstanceOf(error, SocketNotFound);
});
