import { assert, assertEquals } from "@std/assert";
import { andMore, CountedLines, kindOfError } from "../../_internal/base/counted_lines.ts";
import { connect } from "@uds/uds";
import { Process, udsCommand } from "../_cli.ts";
import { fixture, TempDir, test } from "../_helpers.ts";

test("CountedLines writes the first line of a kind at once, and counts the others", () => {
  const lines = new CountedLines();
  const written: string[] = [];
  for (const kind of ["a", "a", "b", "a", "a", "b"]) {
    lines.add(kind, (more) => written.push(kind + andMore(more)));
  }
  assertEquals(written, ["a", "b"]);
  lines.flush();
  assertEquals(written, ["a", "b", "a (and 2 more like it)", "b"]);
  lines.flush();
  assertEquals(written.length, 4);
});

test("CountedLines writes its counts after a second, without a flush", async () => {
  const lines = new CountedLines();
  const start = performance.now();
  const { promise, resolve } = Promise.withResolvers<number>();
  lines.add("a", () => {});
  for (let i = 0; i < 1234; i++) lines.add("a", resolve);
  // The timer of CountedLines does not keep the process alive.
  const alive = setInterval(() => {}, 1000);
  assertEquals(andMore(await promise), " (and 1,233 more like it)");
  clearInterval(alive);
  const ms = performance.now() - start;
  assert(ms > 990, `${ms} ms`);
});

test("CountedLines with onlyFirst drops the lines that come too fast", () => {
  const lines = new CountedLines({ onlyFirst: true });
  const written: number[] = [];
  for (let i = 0; i < 5; i++) lines.add("a", () => written.push(i));
  lines.flush();
  assertEquals(written, [0]);
});

test("CountedLines distinguishes a bounded number of kinds", () => {
  const lines = new CountedLines();
  let written = 0;
  for (let i = 0; i < 200; i++) lines.add(`kind ${i}`, () => written++);
  lines.flush();
  assertEquals(written, 34);
});

test("kindOfError() groups errors by their place, whatever their messages", () => {
  const fail = (text: string) => new Error(text);
  assertEquals(kindOfError(fail("client 1")), kindOfError(fail("client 2")));
  assert(kindOfError(fail("a")) !== kindOfError(new Error("a")));
});

test("serve() without onError prints a flood of errors once, with the number of the others", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using program = fixture("server_flood.ts", ["-A"], [path, "300"]);
  await program.status;
  const lines = (await program.stderr()).split("\n").filter((line) => !/^ +at |^$/.test(line));
  assert(lines.length >= 2 && lines.length <= 6, lines.join("\n"));
  const start = `uds: The handler of ${JSON.stringify(path)} has failed`;
  assertEquals(lines[0], `${start}: Error: the handler fails`);
  const more = (await program.stderr()).matchAll(/\(and ([\d,]+) more like it\)/g);
  const counted = [...more].map(([, count]) => Number(count!.replace(",", "")));
  assertEquals(lines.length + counted.reduce((sum, count) => sum + count, 0), 300);
});

for (const [flags, more] of [[[], 1], [["--quiet"], 0]] as const) {
  const name = ["uds relay", ...flags].join(" ");
  test(`${name} counts clients that its target refuses, in ${1 + more} lines`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const sides = [path, dir.file("none.sock")];
    // With a timeout each client would wait for the target to start.
    await using relay = new Process(
      udsCommand(["relay", "--timeout", "0", ...flags, ...sides]),
    );
    for (let i = 0; i < 40; i++) {
      const conn = await connect({ path, timeout: 20_000, wait: true });
      await conn.read(new Uint8Array(1)).catch(() => null);
      conn.close();
    }
    relay.kill("SIGTERM");
    const { stderr } = await relay.ended;
    const printed = stderr.split("\n").filter((line) => line.includes("Cannot connect"));
    const counted = printed.flatMap((line) => line.match(/\(and (\d+) more like it\)/)?.[1] ?? []);
    assert(printed.length >= 1 + more && printed.length <= (more === 0 ? 1 : 4), stderr);
    if (more > 0) assertEquals(printed.length + counted.reduce((sum, n) => sum + Number(n), 0), 40);
  });
}
