import { connect, isSocketError, listen } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, FullListener, readText, TempDir, test, testAlone, turn } from "../_helpers.ts";
import { flags, limited } from "./_client.ts";

function fileUrl(path: string): URL {
  return new URL(`file://${encodeURI(path)}`);
}

// Connecting --------------------------------------------------------------------------------------

for (
  const [form, options] of Object.entries({
    "a path": (path: string) => path,
    "a file URL": (path: string) => fileUrl(path),
    "options": (path: string) => ({ path }),
    "options with a file URL": (path: string) => ({ path: fileUrl(path) }),
    "options that say nothing": (path: string) => ({ path, timeout: Infinity, wait: false }),
  })
) {
  test(`connect() takes ${form}, and remoteAddr is the path`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app é.sock");
    await using listener = await listen(path);
    const [server, client] = await Promise.all([listener.accept(), connect(options(path))]);
    assertEquals(client.remoteAddr, { transport: "unix", path });
    assertEquals(client.localAddr, { transport: "unix", path: null });
    await client.write(encode("hello"));
    assertEquals(await readText(server), "hello");
    client.close();
    server.close();
  });
}

test("connect() makes a path with dots absolute", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("a.sock"));
  using client = await connect(`${dir.path}/x/../a.sock`);
  (await listener.accept()).close();
  assertEquals(client.remoteAddr.path, dir.file("a.sock"));
});

test("connect() follows a symbolic link, and remoteAddr is the link as asked for", async () => {
  await using dir = new TempDir();
  await Deno.symlink("real.sock", dir.file("link.sock"));
  await using listener = await listen(dir.file("real.sock"));
  using client = await connect(dir.file("link.sock"));
  using server = await listener.accept();
  assertEquals(client.remoteAddr.path, dir.file("link.sock"));
  await server.write(encode("hello"));
  assertEquals(await readText(client), "hello");
});

test("connect() reaches an abstract name", async () => {
  const path = `\0uds-client-${Deno.pid}-${Math.random()}`;
  await using listener = await listen(path);
  using client = await connect(path);
  using server = await listener.accept();
  assertEquals(client.remoteAddr, { transport: "unix", path });
  await client.write(encode("hello"));
  assertEquals(await readText(server), "hello");
});

// A full backlog ----------------------------------------------------------------------------------

test("connect() waits for a place in a full backlog, also without wait", async () => {
  await using dir = new TempDir();
  using full = await FullListener.open(dir.file("f.sock"));
  let settled = false;
  const connecting = connect(dir.file("f.sock")).finally(() => settled = true);
  for (let i = 0; i < 10; i++) await turn();
  assert(!settled, "it settled with the backlog full");
  (await full.listener.accept()).close();
  using client = await connecting;
  assertEquals(await client.write(encode("in the backlog")), 14);
});

const ENOUGH_DESCRIPTORS = hardLimit() >= 6000;

/** Returns the maximum number of descriptors that a process of ours may have open. */
function hardLimit(): number {
  const { stdout } = new Deno.Command("/bin/sh", { args: ["-c", "ulimit -Hn"] }).outputSync();
  const text = new TextDecoder().decode(stdout).trim();
  return text === "unlimited" ? Infinity : Number(text);
}

if (ENOUGH_DESCRIPTORS) {
  testAlone("connect() of 5,000 clients at once: all are served within 3 seconds", async () => {
    await using dir = new TempDir();
    const path = dir.file("storm.sock");
    const limit = Math.min(hardLimit(), 16_384);
    await using server = limited(limit, "peer_echo.ts", flags(path), [path]);
    assertEquals(await server.line(), "ready");
    const times: number[] = [];
    // The machine may be busy with something else, so one of three rounds is enough.
    while (times.length < 3 && !times.some((ms) => ms < 3000)) {
      const args = [path, "5000", `${server.pid}`];
      await using clients = limited(limit, "client_storm.ts", ["-A"], args);
      const { served, failure, ms } = JSON.parse(await clients.line());
      assertEquals({ served, failure }, { served: 5000, failure: null });
      assertEquals((await clients.status).code, 0);
      times.push(ms);
    }
    assert(times.some((ms) => ms < 3000), `it took ${times.join(", ")} ms`);
  }, { deadline: 20_000 });
} else {
  Deno.test.ignore("connect() of 5,000 clients (the limit of descriptors is too low)", () => {});
}

// Arguments ---------------------------------------------------------------------------------------

for (
  const [name, options, Class, says] of [
    ["undefined", undefined, TypeError, "expected an object, got undefined"],
    ["a number", 3, TypeError, "expected an object, got 3"],
    ["an empty path", "", TypeError, "it is empty"],
    ["a path of 108 bytes", `/${"x".repeat(107)}`, RangeError, "108 bytes"],
    ["no path", { timeout: 1 }, TypeError, "expected a string or a file: URL"],
    ["an unknown option", { path: "/x", timout: 1 }, TypeError, '"timout"'],
    ["a timeout that is not a number", { path: "/x", timeout: "1" }, TypeError, "Invalid timeout"],
    ["a negative timeout", { path: "/x", timeout: -1 }, RangeError, "at least 0"],
    ["a timeout that is NaN", { path: "/x", timeout: NaN }, RangeError, "got NaN"],
    [
      "a timeout above the range of timers",
      { path: "/x", timeout: 2 ** 31 },
      RangeError,
      "2147483647",
    ],
    ["wait that is not a boolean", { path: "/x", wait: 1 }, TypeError, "Invalid wait"],
    ["a negative owner", { path: "/x", owner: -1 }, RangeError, "Invalid owner"],
    ["an owner that is a name", { path: "/x", owner: "root" }, TypeError, "Invalid owner"],
    ["a list of owners with a hole", { path: "/x", owner: [0, undefined] }, TypeError, "got null"],
    ["an invalid signal", { path: "/x", signal: {} }, TypeError, "Invalid signal"],
    ["an owner of an abstract name", { path: "\0x", owner: 0 }, TypeError, "no owner to check"],
  ] as const
) {
  test(`connect() refuses ${name}`, async () => {
    const error = await assertRejects(() => connect(options as never), Class, says);
    assert(!isSocketError(error), "a wrong argument is not a failure of the system");
  });
}

test("connect() checks its arguments before its signal", async () => {
  const options = { path: "/x", wait: 1, signal: AbortSignal.abort() } as never;
  await assertRejects(() => connect(options), TypeError, "Invalid wait");
});
