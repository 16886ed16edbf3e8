import { closeSync } from "node:fs";
import { connect, type Connection, serve } from "@uds/uds";
import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { encode, openDescriptors, run, TempDir, test } from "../_helpers.ts";
import { contentOf, openFile, receive } from "../native/_descriptors.ts";

const FFI = [...FLAGS, "--allow-ffi"];

/** Returns a message with its descriptors. */
async function echo(path: string) {
  return await serve({ path, descriptors: true }, async (conn) => {
    for (;;) {
      const buffer = new Uint8Array(1000);
      const received = await receiveDescriptors(conn, buffer);
      if (received === null) return;
      const data = buffer.subarray(0, received.count);
      if (received.descriptors.length === 0) await conn.write(data);
      else await sendDescriptors(conn, data, received.descriptors);
      for (const each of received.descriptors) each.close();
    }
  });
}

/** Starts a relay in front of the echo, and waits until it listens. */
async function start(dir: TempDir, args: string[], flags: string[]): Promise<Process> {
  const paths = [dir.file("r.sock"), dir.file("a.sock")];
  const process = new Process(udsCommand([...args, ...paths], flags));
  await process.stderr.until("listening");
  return process;
}

for (const command of ["relay", "tap"]) {
  test(`uds ${command} --descriptors passes descriptors on, both ways`, async () => {
    await using dir = new TempDir();
    await using _server = await echo(dir.file("a.sock"));
    await using process = await start(dir, [command, "--descriptors"], FFI);
    const before = openDescriptors();
    {
      await using conn = await connect({ path: dir.file("r.sock"), descriptors: true });
      for (const count of [1, 3, 253]) {
        const fds = Array.from({ length: count }, (_, i) => openFile(dir, `file ${i}`));
        await sendDescriptors(conn, encode(`message ${count}`), fds);
        fds.forEach(closeSync);
        const { text, descriptors } = await receive(conn);
        assertEquals(text, `message ${count}`);
        assertEquals(
          await Promise.all(descriptors.map(contentOf)),
          fds.map((_, i) => `file ${i}`),
        );
      }
      await conn.closeWrite();
      assertEquals(await receiveDescriptors(conn, new Uint8Array(1)), null);
    }
    assertEquals(openDescriptors() <= before, true);
    // Only its own sockets are left.
    const { stdout } = await run("ls", ["-l", `/proc/${process.pid}/fd`]);
    assertEquals(stdout.includes("file-"), false, stdout);
    if (command === "relay") return;
    await process.stdout.until("close");
    const events = (await process.stdout.text()).trim().split("\n").map((line) => JSON.parse(line));
    const counts = events.filter(({ event }) => event === "descriptors").map((
      { direction, count, dropped },
    ) => [direction, count, dropped]);
    assertEquals(
      counts,
      [1, 3, 253].flatMap((count) => [
        ["to-target", count, undefined],
        ["to-client", count, undefined],
      ]),
    );
  });
}

test("uds tap shows the descriptors that it drops, if it may call libc", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("a.sock"));
  for (const [flags, isShown] of [[FFI, true], [FLAGS, false]] as const) {
    await using process = await start(dir, ["tap"], flags);
    {
      await using conn = await connect({ path: dir.file("r.sock"), descriptors: true });
      await sendDescriptors(conn, encode("hello"), [0, 1]);
      using received = await receive(conn);
      assertEquals([received.text, received.descriptors], ["hello", []]);
      await conn.closeWrite();
      assertEquals(await receiveDescriptors(conn, new Uint8Array(1)), null);
    }
    await process.stdout.until("close");
    const text = await process.stdout.text();
    const event = /"event":"descriptors","direction":"to-target","count":2,"dropped":true/;
    assertEquals(event.test(text), isShown, text);
    process.kill("SIGTERM");
    assertEquals((await process.ended).code, 0);
  }
});

/** Sends two messages with descriptors, and receives them without. */
async function exchange(conn: Connection): Promise<void> {
  for (const text of ["hello", "again"]) {
    await sendDescriptors(conn, encode(text), [0, 1]);
    using received = await receive(conn);
    assertEquals([received.text, received.descriptors], [text, []]);
  }
}

test("uds relay says once a connection that it drops descriptors, if it may call libc", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("a.sock"));
  for (const [flags, isSaid] of [[FFI, true], [FLAGS, false]] as const) {
    await using process = await start(dir, ["relay", "--json"], flags);
    {
      const path = dir.file("r.sock");
      await using first = await connect({ path, descriptors: true });
      await exchange(first);
      // It is found beside the first one.
      await using second = await connect({ path, descriptors: true });
      await exchange(second);
      for (const each of [first, second]) {
        await each.closeWrite();
        assertEquals(await each.read(new Uint8Array(1)), null);
      }
    }
    process.kill("SIGTERM");
    const { code, stderr } = await process.ended;
    assertEquals(code, 0);
    const events = stderr.trim().split("\n").map((line) => JSON.parse(line));
    const dropped = { event: "descriptors", direction: "to-target", dropped: true };
    assertEquals(
      events.filter(({ event }) => event === "descriptors"),
      isSaid ? [dropped, dropped] : [],
    );
  }
});

test("uds relay --descriptors is refused with a port, and names its permission", async () => {
  const port = await uds(["relay", "--descriptors", "/tmp/a.sock", "tcp:localhost:1"]);
  assertEquals(port.code, 2);
  assertStringIncludes(port.stderr, "--descriptors is for LISTEN unix: and TARGET unix:");
  const denied = await uds(["relay", "--descriptors", "/tmp/a.sock", "/tmp/b.sock"]);
  assertEquals(denied.code, 9);
  assertMatch(denied.stderr, /Run again with --allow-ffi=\/.*libc/);
});

test("tmux attaches through uds relay --descriptors", async () => {
  await using dir = new TempDir();
  const tmux = (...args: string[]) =>
    run("tmux", ["-f", "/dev/null", "-S", dir.file("a.sock"), ...args]);
  const created = await tmux("new-session", "-d", "-x", "80", "-y", "20", "echo in-tmux; exec cat");
  assertEquals(created.code, 0, created.stderr);
  try {
    await using _relay = await start(dir, ["relay", "--descriptors"], FFI);
    // The client sends its terminal to the server, as descriptors.
    const attach = ["tmux", "-S", dir.file("r.sock"), "attach"];
    const script = ["script", "--quiet", "--return", "--command", attach.join(" "), "/dev/null"];
    await using client = new Process(script, { input: "open", env: { TERM: "xterm" } });
    await client.stdout.until("in-tmux");
    assertStringIncludes(await client.stdout.text(), "in-tmux");
    const { stdout } = await tmux("list-clients", "-F", "#{client_termname}");
    assertEquals(stdout, "xterm\n");
    await tmux("detach-client", "-a");
    await tmux("kill-server");
    await client.ended;
  } finally {
    await tmux("kill-server");
  }
}, { needs: ["tmux", "script"] });
