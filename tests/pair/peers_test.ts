import { type Child, pair, type PairOptions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import {
  decode,
  denoArgs,
  encode,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  ROOT,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { file, python, sha1, shell, textOf, toFileUrl } from "./_pair.ts";

/**
 * A program at descriptor 3 that echoes, answers after the end of file, or ends before its peer.
 */
interface Peer {
  needs: string[];
  start(mode: string, options: PairOptions, dir: TempDir): Promise<Child>;
  /** MiB of the long transfer. */
  mebibytes: number;
  /** A shell cannot half-close. */
  cannotEndFirst?: boolean;
}

/**
 * Starts Deno with a flag that denies something: otherwise node:child_process adds `--allow-all`.
 */
function deno(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair(Deno.execPath(), {
    ...options,
    args: denoArgs("pair_peer.ts", ["--deny-env"], args),
  });
}

const peers: Record<string, Peer> = {
  "Deno": {
    needs: [],
    start: (mode, options) => deno([mode], options),
    mebibytes: 64,
  },
  "a Deno module": {
    needs: [],
    start: (mode, options) =>
      pair(toFileUrl(file("pair_peer.ts")), {
        ...options,
        modules: [ROOT],
        config: toFileUrl(join(ROOT, "deno.json")),
        args: [mode],
      }),
    mebibytes: 8,
  },
  "Node": {
    needs: ["node"],
    start: (mode, options) => pair("node", { ...options, args: [file("pair_peer.mjs"), mode] }),
    mebibytes: 8,
  },
  "Python": {
    needs: ["python3"],
    start: (mode, options) => python([mode], options),
    mebibytes: 64,
  },
  "C": {
    needs: ["gcc"],
    start: async (mode, options, dir) => {
      const program = dir.file("peer");
      const { code, stderr } = await run("gcc", ["-Wall", "-o", program, file("pair_peer.c")]);
      assertEquals([code, stderr], [0, ""]);
      return await pair(program, { ...options, args: [mode] });
    },
    mebibytes: 8,
  },
  "Perl": {
    needs: ["perl"],
    start: (mode, options) => pair("perl", { ...options, args: [file("pair_peer.pl"), mode] }),
    mebibytes: 8,
  },
  "a POSIX shell": {
    needs: ["sh"],
    start: (mode, options) => pair("sh", { ...options, args: [file("pair_peer.sh"), mode] }),
    mebibytes: 8,
    cannotEndFirst: true,
  },
};

for (const [name, { needs, start, mebibytes, cannotEndFirst }] of Object.entries(peers)) {
  test(`pair() with ${name}: ping, pong, ${mebibytes} MiB each way at once`, async () => {
    await using dir = new TempDir();
    await using child = await start("echo", {}, dir);
    const { conn } = child;
    assertEquals(conn.localAddr, { transport: "unix", path: null });
    assertEquals(conn.remoteAddr, { transport: "unix", path: null });
    await conn.write(encode("ping"));
    assertEquals(await readText(conn), "ping");

    const data = pseudoRandom(mebibytes * MIB, 1);
    const back = new Uint8Array(data.length);
    const [count] = await Promise.all([
      (async () => {
        let end = 0;
        for (let n; (n = await conn.read(back.subarray(end))) !== null && n > 0;) end += n;
        return end;
      })(),
      conn.write(data).then(() => conn.closeWrite()),
    ]);
    assertEquals(count, data.length);
    assertEquals(await sha1(back), await sha1(data));
    assertEquals(await child.status, { success: true, code: 0, signal: null });
    assertEquals([conn.bytesRead, conn.bytesWritten], [data.length + 4, data.length + 4]);
    // A full buffer does not show the end of file, so read once more.
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await conn.closed;
  }, { needs });

  test(`pair() with ${name}: it answers after our end of file`, async () => {
    await using dir = new TempDir();
    await using child = await start("answer", {}, dir);
    await child.conn.write(new Uint8Array(300_000));
    await child.conn.closeWrite();
    assertEquals(decode(await readAll(child.conn)).trim(), "300000");
    assertEquals((await child.status).code, 0);
    await child.conn.closed;
  }, { needs });

  if (cannotEndFirst) continue;
  test(`pair() with ${name}: it receives after its own end of file`, async () => {
    await using dir = new TempDir();
    await using child = await start("end-first", { stdout: "piped" }, dir);
    assertEquals(decode(await readAll(child.conn)), "bye\n");
    assertEquals(await child.conn.read(new Uint8Array(1)), null);
    await child.conn.write(new Uint8Array(300_000));
    await child.conn.closeWrite();
    assertEquals(await textOf(child.stdout), "300000\n");
    assertEquals((await child.status).code, 0);
    await child.conn.closed;
  }, { needs });
}

test("child.stdin to child.stdout: 64 MiB, with stderr piped and conn idle", async () => {
  await using child = await shell("cat; echo done >&2", {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  const data = pseudoRandom(64 * MIB, 6);
  const [back, error] = await Promise.all([
    new Response(child.stdout).arrayBuffer(),
    textOf(child.stderr),
    new Blob([data]).stream().pipeTo(child.stdin),
  ]);
  assertEquals(await sha1(new Uint8Array(back)), await sha1(data));
  assertEquals(error, "done\n");
  assertEquals((await child.status).code, 0);
  assertEquals([child.conn.bytesRead, child.conn.bytesWritten], [0, 0]);
});
