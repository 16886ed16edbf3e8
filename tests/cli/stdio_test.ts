import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "@uds/uds";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, fixturePath, pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";

/** Starts a server that sends some bytes, and then reads to the end of file. */
function sender(path: string, data: Uint8Array) {
  return serve(path, async (conn) => {
    await conn.write(data);
    await conn.closeWrite();
    await readAll(conn);
  });
}

/** Returns lines of all lengths, some longer than any buffer. The last one is unterminated. */
function lines(size: number): Uint8Array<ArrayBuffer> {
  const text = pseudoRandom(size, 11).map((byte) => 97 + byte % 26);
  for (let at = 0, length = 0; at < size; at += length = (length * 7 + 13) % 2600) text[at] = 10;
  return text;
}

/** Runs a command line with `O_NONBLOCK` on a standard stream that is read slowly. */
async function nonblocking(
  stream: string,
  kind: string,
  args: string[],
  flags: string[] = FLAGS,
) {
  const script = [fixturePath("nonblocking_stdio.py"), stream, kind];
  const command = ["python3", ...script, ...udsCommand(args, flags)];
  await using process = new Process(command);
  return await process.ended;
}

const needs = ["python3"];

for (
  const [what, data, flags] of [
    ["bytes", pseudoRandom(400_000, 3), ["-A"]],
    ["lines", lines(200_000), FLAGS],
  ] as const
) {
  test(
    `uds connect writes ${what} whole where standard output has O_NONBLOCK, ${flags[0]}`,
    async () => {
      await using dir = new TempDir();
      await using _server = await sender(dir.file("s.sock"), data);
      const args = ["connect", dir.file("s.sock")];
      await Promise.all(["pipe", "socket", "terminal"].map(async (kind) => {
        const { code, stdout, stderr } = await nonblocking("out", kind, args, [...flags]);
        assertEquals([code, stderr, stdout.length], [0, "", data.length], kind);
        assert(stdout.every((byte, i) => byte === data[i]), kind);
      }));
    },
    { needs },
  );
}

test("uds send waits for its input where standard input has O_NONBLOCK", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.write(await readAll(conn));
  });
  await Promise.all(["pipe", "socket"].map(async (kind) => {
    const { code, stdout, stderr } = await nonblocking("in", kind, ["send", dir.file("s.sock")]);
    assertEquals([code, decode(stdout), stderr], [0, "first\nsecond\n", ""], kind);
  }));
}, { needs });

test(
  "uds run writes what its command prints whole to a standard error with O_NONBLOCK",
  async () => {
    const args = ["run", "--", "seq", "100000"];
    const { code, stdout } = await nonblocking("err", "pipe", args, ["-A"]);
    assertEquals(code, 0);
    const expected = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join("");
    assert(decode(stdout) === expected, `${stdout.length} of ${expected.length} bytes`);
  },
  { needs },
);

test("uds connect reports that standard output is full", async () => {
  await using dir = new TempDir();
  await using _server = await sender(dir.file("s.sock"), encode("data\n"));
  const command = udsCommand(["connect", dir.file("s.sock")]);
  await using process = new Process(["sh", "-c", '"$@" >/dev/full', "sh", ...command]);
  const { code, stderr } = await process.ended;
  assertEquals(code, 1);
  assertStringIncludes(stderr, "Cannot write to standard output: No space left on device");
});

for (const closing of ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]) {
  test(`uds connect ends with ${closing} as with /dev/null`, async () => {
    await using dir = new TempDir();
    await using _server = await sender(dir.file("s.sock"), encode("data\n"));
    const command = udsCommand(["connect", dir.file("s.sock")]);
    await using process = new Process(["sh", "-c", `"$@" ${closing}`, "sh", ...command]);
    const { code, stdout, stderr } = await process.ended;
    const expected = closing.includes(" >&-") || closing === ">&-" ? "" : "data\n";
    assertEquals([code, decode(stdout), stderr], [0, expected, ""]);
  });
}

test("uds goes on if standard error takes nothing", async () => {
  await using dir = new TempDir();
  const command = udsCommand(["send", dir.file("none.sock"), "x"]);
  await using process = new Process(["sh", "-c", '"$@" 2>/dev/full', "sh", ...command]);
  assertEquals((await process.ended).code, 3);
  assertEquals((await uds(["probe", dir.file("none.sock")])).code, 3);
});
