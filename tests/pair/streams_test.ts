import { pair } from "@uds/uds";
import { assertEquals } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  test,
  turn,
} from "../_helpers.ts";
import { assertSameBytes, numbers, python, sha1, shell, textOf } from "./_pair.ts";

test("child.conn.readable.pipeTo(child.conn.writable) is an echo server", async () => {
  await using child = await python(["reflect", `${8 * MIB}`], { stdout: "piped" });
  await child.conn.readable.pipeTo(child.conn.writable);
  await child.conn.closed;
  assertEquals(await textOf(child.stdout), "same\n");
  assertEquals((await child.status).code, 0);
}, { needs: ["python3"] });

test("child.conn: a stream through a child as a filter", async () => {
  await using child = await shell("exec tr a-z A-Z <&3 >&3");
  const source = new Blob(["hello ".repeat(100_000)]).stream();
  const [text] = await Promise.all([
    textOf(child.conn.readable),
    source.pipeTo(child.conn.writable),
  ]);
  assertEquals(text, "HELLO ".repeat(100_000));
});

test("inherited() in Deno: readable.pipeTo(writable) echoes and ends", async () => {
  await using child = await pair(Deno.execPath(), {
    args: denoArgs("pair_echo.ts", ["--deny-env"]),
  });
  const data = pseudoRandom(3 * MIB, 5);
  const [back] = await Promise.all([
    readAll(child.conn),
    child.conn.write(data).then(() => child.conn.closeWrite()),
  ]);
  assertSameBytes(back, data);
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("child.conn.writable.close() leaves reading open for a reply after the end of file", async () => {
  await using child = await shell("wc -c <&3 >&3");
  const writer = child.conn.writable.getWriter();
  await writer.write(new Uint8Array(1000));
  await writer.close();
  assertEquals((await textOf(child.conn.readable)).trim(), "1000");
  await child.conn.closed;
});

test("child.conn.writable.abort() closes the connection", async () => {
  await using child = await shell("cat <&3; echo over", { stdout: "piped" });
  await child.conn.writable.abort();
  await child.conn.closed;
  assertEquals(await textOf(child.stdout), "over\n");
});

test("child.conn.readable serves a reader that brings its own buffer, until the end", async () => {
  await using child = await python(["send", `${MIB}`]);
  const reader = child.conn.readable.getReader({ mode: "byob" });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let view = new Uint8Array(50_000);
  for (;;) {
    const { value, done } = await reader.read(view);
    if (done) break;
    chunks.push(value.slice());
    view = new Uint8Array(value.buffer);
  }
  assertEquals(await sha1(...chunks), await sha1(numbers(MIB)));
  await child.conn.closeWrite();
  await child.conn.closed;
}, { needs: ["python3"] });

test("child.conn.readable canceled while it reads leaves the bytes to the next reads", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const reader = child.conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  await child.conn.write(encode("aabb"));
  const two = new Uint8Array(2);
  assertEquals([await child.conn.read(two), decode(two)], [2, "aa"]);
  assertEquals(await readText(child.conn), "bb");
});
