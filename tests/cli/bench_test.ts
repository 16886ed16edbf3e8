import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { lines, messages, serve } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { histogram, quantile } from "../../_cli/text/histogram.ts";
import { onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, TempDir, test, testAlone } from "../_helpers.ts";

test("uds bench --json reports round trips, bulk and messages of a server", async () => {
  await using dir = new TempDir();
  await using _server = await serve(
    dir.file("s.sock"),
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  const args = ["bench", "--json", "--seconds", "0.1", dir.file("s.sock")];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stderr], [0, ""]);
  const { server, seconds, roundTrips, bulk, messages } = JSON.parse(stdout);
  assertEquals([server, seconds], [dir.file("s.sock"), 0.1]);
  const { perSecond, median, p99, longest } = roundTrips;
  for (const figure of [perSecond, median, bulk.bytesPerSecond, messages.perSecond]) {
    assert(figure > 0, stdout);
  }
  assert(median <= p99 && p99 <= longest, stdout);
});

test("uds bench measures a server that first answers when the time is over", async () => {
  await using dir = new TempDir();
  let connections = 0;
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    if (++connections > 1) await delay(200);
    await conn.readable.pipeTo(conn.writable);
  });
  const args = ["bench", "--json", "--seconds", "0.1", dir.file("s.sock")];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stderr], [0, ""]);
  const { roundTrips, bulk, messages } = JSON.parse(stdout);
  for (const figure of [roundTrips.median, bulk.bytesPerSecond, messages.perSecond]) {
    assert(figure > 0, stdout);
  }
});

test(
  "uds bench --self on a terminal shows progress and a histogram, and leaves nothing",
  async () => {
    await using dir = new TempDir();
    const command = onTerminal(udsCommand(["bench", "--self", "--seconds", "0.15"]));
    await using process = new Process(command, { env: { TMPDIR: dir.path, TERM: "xterm" } });
    const { code } = await process.ended;
    const text = await process.stdout.text();
    assertEquals(code, 0, text);
    for (const what of ["round trips", "bulk", "messages"]) {
      assertStringIncludes(text, `\r\x1b[K${what}: `);
    }
    assertMatch(text, /\n +\d+ µs {2}█+ +[\d,]+\r\n/);
    assertMatch(text, /\nmessages of 64 B +[\d,]+\/s/);
    assertEquals(dir.list(), []);
  },
  { needs: Deno.build.os === "linux" ? ["script"] : ["script of util-linux"] },
);

for (const what of ["round trips", "bulk", "messages"]) {
  test(`uds bench --self on a terminal leaves nothing at Ctrl-C during ${what}`, async () => {
    await using dir = new TempDir();
    const command = onTerminal(udsCommand(["bench", "--self", "--seconds", "0.5"]));
    await using process = new Process(command, {
      input: "open",
      env: { TMPDIR: dir.path, TERM: "xterm", NO_COLOR: "1" },
    });
    await process.stdout.until(`\r\x1b[K${what}: `);
    await process.type("\x03");
    const { code, stdout } = await process.ended;
    assertEquals(code, 1);
    const said = "\r\x1b[Kuds: Cannot measure an echo in this process: told to stop\r\n";
    assertStringIncludes(decode(stdout), said);
    assertEquals(dir.list(), []);
  }, { needs: Deno.build.os === "linux" ? ["script"] : ["script of util-linux"] });
}

test("uds bench --self ends its connections without a failure at the server", async () => {
  const { code, stderr } = await uds(["bench", "--self", "--seconds", "0.1"]);
  assertEquals([code, stderr], [0, ""]);
});

test("uds bench refuses a server that does not echo", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async () => {});
  const { code, stderr } = await uds(["bench", dir.file("s.sock")]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "there is no echo");
});

test("uds bench --send measures any server: kept, framed, or with a connection each", async () => {
  await using dir = new TempDir();
  await using _lines = await serve(dir.file("lines.sock"), async (conn) => {
    for await (const line of messages(conn, lines())) await conn.write(encode(`+${line}\n`));
  });
  let connections = 0;
  await using _once = await serve(dir.file("once.sock"), async (conn) => {
    connections++;
    await conn.read(new Uint8Array(100));
    await conn.write(encode("x".repeat(100_000)));
  });
  const all = await Promise.all([
    ["--framing", "lines", "--clients", "3", dir.file("lines.sock")],
    ["--hex", dir.file("lines.sock")],
    [dir.file("once.sock")],
  ].map(async (args) => {
    const send = args.includes("--hex") ? "68690a" : "PING";
    const options = ["--json", "--seconds", "0.5", "--send", send];
    const { code, stdout, stderr } = await uds(["bench", ...options, ...args]);
    assertEquals([code, stderr], [0, ""]);
    return JSON.parse(stdout);
  }));
  assertEquals(all.map(({ size, clients, reconnects }) => [size, clients, reconnects]), [
    [4, 3, false],
    [3, 1, false],
    [4, 1, true],
  ]);
  for (const { perSecond, median, p99, longest, errors } of all) {
    assert(perSecond > 0 && median <= p99 && p99 <= longest, JSON.stringify(all));
    assertEquals(errors, {});
  }
  assert(connections > 1);
});

test("uds bench prints a rate below 1 with two digits", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    const channel = messages(conn, lines());
    for await (const line of channel) {
      await delay(1200);
      await channel.send(line);
    }
  });
  const args = ["--seconds", "0.1", "--framing", "lines", "--send", "a", dir.file("s.sock")];
  const { code, stdout } = await uds(["bench", ...args]);
  assertEquals(code, 0);
  assertMatch(stdout, /requests of 1 B by 1 client +0\.\d\d?\/s\n {2}median 1/);
});

test("uds bench --framing counts an answer that does not come as an error", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.closeWrite();
    while (await conn.read(new Uint8Array(100)) !== null);
  });
  const options = ["--framing", "lines", "--seconds", "0.1", "--json"];
  const { code, stdout } = await uds(["bench", "--send", "x", ...options, dir.file("s.sock")]);
  assertEquals(code, 1);
  const [message] = Object.keys(JSON.parse(stdout).errors);
  assertMatch(message!, /ended the connection/);
});

test("uds bench --send counts errors, and has exit code 1", async () => {
  await using dir = new TempDir();
  let requests = 0;
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    while (await conn.read(new Uint8Array(100)) !== null) {
      if (++requests % 3 === 0) return;
      await conn.write(encode("pong"));
    }
  });
  const args = ["bench", "--send", "ping", "--seconds", "0.2", dir.file("s.sock")];
  const { code, stdout } = await uds(args);
  assertEquals(code, 1);
  assertMatch(stdout, /\nrequests of 4 B by 1 client +[\d,]+\/s\n {2}median /);
  assertMatch(stdout, /\nerrors +[1-9]\d*\n {2}\d+ × The server has ended the connection/);
});

// On a busy machine a pause may end the answer, so it has several tries.
testAlone("uds bench --send ends at a first answer that never ends", async () => {
  await using dir = new TempDir();
  const options = { path: dir.file("s.sock"), onError() {} };
  await using _server = await serve(options, async (conn) => {
    for (const chunk = new Uint8Array(65536);;) await conn.write(chunk);
  });
  let ended = { code: 0, stderr: "" };
  for (let tries = 0; tries < 5 && ended.code === 0; tries++) {
    ended = await uds(["bench", "--seconds", "0.1", "--send", "x", dir.file("s.sock")]);
  }
  assertEquals(ended.code, 8);
  assertEquals(
    ended.stderr,
    "uds: The first answer has not ended within 2 s. If the server sends by itself, use --framing\n",
  );
});

test("uds bench --framing refuses a request that the framing cannot have", async () => {
  const args = ["bench", "--framing", "lines", "--send", "a\nb", "/nowhere.sock"];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stdout], [2, ""]);
  assertMatch(stderr, /^uds: Cannot encode a message: it has the delimiter/);
});

for (const args of [["--clients", "2"], ["--framing", "lines"], ["--self", "--send", "x"]]) {
  test(`uds bench ${args.join(" ")} needs --send and PATH`, async () => {
    const path = args.includes("--self") ? [] : ["/nowhere.sock"];
    const { code, stderr } = await uds(["bench", ...args, ...path]);
    assertEquals(code, 2);
    assertMatch(stderr, /needs --send and PATH|does not go with --self/);
  });
}

for (const args of [[], ["--self", "/tmp/x"]]) {
  test(`uds bench ${args.join(" ")} ends with exit code 2`, async () => {
    const { code, stderr } = await uds(["bench", ...args]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "PATH or --self");
  });
}

test("histogram() has each value in the bin that begins below it", () => {
  const values = [1, 1, 1.5, 3, 100];
  const bins = histogram(values);
  assertEquals(bins.reduce((sum, { count }) => sum + count, 0), values.length);
  for (const [i, { from, count }] of bins.entries()) {
    const to = bins[i + 1]?.from ?? Infinity;
    assertEquals(values.filter((value) => value >= from && value < to).length, count);
  }
});

test("quantile() is the value that a share does not exceed", () => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assertEquals([0.5, 0.99, 1].map((share) => quantile(sorted, share)), [50, 99, 100]);
});
