import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { lines, messages, serve } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { Progress } from "../../_cli/io/output.ts";
import { measureLoad } from "../../_cli/io/request_load.ts";
import { histogram, quantile } from "../../_cli/text/histogram.ts";
import { onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, TempDir, test, testAlone } from "../_helpers.ts";
import { Stopwatch } from "../_stopwatch.ts";

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
  assertStringIncludes(stderr, "it sends no echo");
});

for (const [i, what] of ["a first echo", "round trips", "bulk", "messages"].entries()) {
  test(`uds bench times out if its server goes silent during ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    let connections = 0;
    await using _server = await serve({ path, onError() {} }, async (conn) => {
      if (connections++ < i) return await conn.readable.pipeTo(conn.writable);
      const buffer = new Uint8Array(100_000);
      // What comes first is sent back, except for a first echo.
      const count = await conn.read(buffer) ?? 0;
      if (i > 0) await conn.write(buffer.subarray(0, count));
      await conn.closed;
    });
    const { code, stdout, stderr } = await uds(["bench", "--seconds", "0.2", path]);
    assertEquals([code, stdout], [8, ""]);
    const remedy = i > 0
      ? ""
      : ". It needs an echo: uds echo PATH serves one, and --send measures any server";
    const state = `Cannot measure "${path}": no whole answer came within 2 s`;
    assertEquals(stderr, `uds: ${state}${remedy}\n`);
  });
}

for (const [i, what] of ["round trips", "bulk", "messages"].entries()) {
  test(`uds bench fails if its server ends the connection during ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    let connections = 0;
    await using _server = await serve({ path, onError() {} }, async (conn) => {
      if (connections++ <= i) return await conn.readable.pipeTo(conn.writable);
      const buffer = new Uint8Array(100_000);
      const count = await conn.read(buffer) ?? 0;
      await conn.write(buffer.subarray(0, count));
    });
    const { code, stdout, stderr } = await uds(["bench", "--seconds", "0.2", path]);
    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, path);
  });
}

test("uds bench times out if its server is stopped", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Process(udsCommand(["echo", "--piece", "64", path]));
  await server.stderr.until("listening");
  const measuring = uds(["bench", "--seconds", "20", path]);
  await server.stderr.until("received");
  server.kill("SIGSTOP");
  const { code, stderr } = await measuring;
  server.kill("SIGCONT");
  assertEquals(code, 8);
  assertStringIncludes(stderr, `Cannot measure "${path}": no whole answer came within 2 s`);
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

for (const framing of [[], ["--framing", "lines"]]) {
  test(`uds bench --send ${framing.join(" ")} fails at once if nothing is at the path`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const args = ["bench", "--send", "x", "--seconds", "30", ...framing, path];
    const { code, stdout, stderr } = await uds(args);
    assertEquals([code, stdout], [3, ""]);
    assertStringIncludes(stderr, `Cannot connect to "${path}": there is no such file`);
  });
}

test("uds bench --send names the path of a server that sends nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _silent = await serve(path, (conn) => conn.closed);
  await using _ending = await serve(`${path}2`, async (conn) => {
    await conn.read(new Uint8Array(100));
  });
  const [silent, ending] = await Promise.all(
    [path, `${path}2`].map((each) => uds(["bench", "--send", "x", each])),
  );
  const state = "no answer came within 4 s";
  assertEquals(silent!.code, 8);
  assertEquals(silent!.stderr, `uds: Cannot measure "${path}": ${state}\n`);
  assertEquals(ending!.code, 1);
  assertEquals(
    ending!.stderr,
    `uds: Cannot measure "${path}2": it has ended the connection without an answer\n`,
  );
});

for (const state of ["silent", "stopped"]) {
  test(`uds bench --send waits 4 s for the first answer of a ${state} server`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = new Process(udsCommand(["listen", "--keep", path]), { input: "open" });
    await server.stderr.until("listening");
    if (state === "stopped") server.kill("SIGSTOP");
    const watch = new Stopwatch();
    using progress = new Progress({});
    const options = { request: "x", clients: 1, ms: 100 };
    const error = await assertRejects(
      () => measureLoad(path, options, progress),
      Deno.errors.TimedOut,
    );
    assertEquals(error.message, `Cannot measure "${path}": no answer came within 4 s`);
    const { ms } = watch;
    assert(ms > 3900 && ms < 5500, `${ms}`);
    server.kill("SIGCONT");
  });
}

for (const args of [["--send", "x"], []]) {
  test(`uds ${["bench", ...args].join(" ")} names a stopped process`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = new Process(udsCommand(["echo", path]));
    await server.stderr.until("listening");
    server.kill("SIGSTOP");
    const { code, stderr } = await uds(["bench", ...args, path], { flags: ["-A"] });
    server.kill("SIGCONT");
    assertEquals(code, 8);
    assertStringIncludes(stderr, `. Its process ${server.pid} is stopped\n`);
  }, { needs: Deno.build.os === "linux" ? [] : ["/proc"] });
}

test("uds bench --framing counts errors by kind, with the first message of each", async () => {
  await using dir = new TempDir();
  let requests = 0;
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    if (await conn.read(new Uint8Array(100)) === null) return;
    // Each length is above the limit, and another one.
    await conn.write(Uint8Array.of(0xff, 0, requests >> 8, requests++));
    await conn.closed;
  });
  const options = ["--framing", "u32be", "--seconds", "0.5", "--json"];
  const { code, stdout } = await uds(["bench", "--send", "x", ...options, dir.file("s.sock")]);
  assertEquals(code, 1);
  assert(requests > 2, stdout);
  const errors = Object.entries<number>(JSON.parse(stdout).errors);
  assertEquals(errors.length, 1, stdout);
  assertMatch(errors[0]![0], /4278190080 bytes/);
  assert(errors[0]![1] > 1, stdout);
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
  assertMatch(
    stdout,
    /\nerrors +[1-9]\d*\n {2}\d+ × Cannot measure "[^\n]*s\.sock": it has ended the connection without an answer\n/,
  );
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
    `uds: Cannot measure "${options.path}": its first answer has not ended within 2 s. ` +
      "If the server sends by itself, use --framing\n",
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
