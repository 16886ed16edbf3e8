import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "@uds/uds";
import { histogram, quantile } from "../../_cli/text/histogram.ts";
import { onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, TempDir, test } from "../_helpers.ts";

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
