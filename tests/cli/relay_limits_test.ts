import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, serve } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, pseudoRandom, readAll, run, TempDir, test } from "../_helpers.ts";

/** Starts a relay, and waits until it prints its address. */
async function relaying(args: string[]): Promise<Process & { address: string }> {
  const process = new Process(udsCommand(args));
  await process.stderr.until("\n");
  const address = (await process.stderr.text()).match(/^listening on (\S+)\n/)?.[1] ?? "";
  return Object.assign(process, { address });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

/** Returns the number of descriptors that a process has open. */
function descriptors(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

async function certificate(dir: TempDir): Promise<string[]> {
  const [cert, key] = [dir.file("c.pem"), dir.file("k.pem")];
  const { code, stderr } = await run("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
    ...["-subj", "/CN=localhost", "-keyout", key, "-out", cert],
  ]);
  assertEquals(code, 0, stderr);
  return ["--cert", cert, "--key", key];
}

for (const command of ["relay", "tap"]) {
  test(`uds ${command} passes an early answer on whole, by a path and by a port`, async () => {
    await using dir = new TempDir();
    const answer = pseudoRandom(1_000_000, 7);
    await using _server = await serve(dir.file("a.sock"), async (conn) => {
      await conn.read(new Uint8Array(100));
      await conn.write(answer);
      // Most of the request is unread.
      conn.close();
    });
    for (const from of [dir.file("f.sock"), "tcp:127.0.0.1:0"]) {
      await using relay = await relaying([command, from, dir.file("a.sock")]);
      const port = portOf(relay.address);
      await Promise.all(Array.from({ length: 5 }, async () => {
        using conn = await (port > 0
          ? Deno.connect({ hostname: "127.0.0.1", port })
          : Deno.connect({ transport: "unix", path: from }));
        const sending = (async () => {
          const chunk = new Uint8Array(64 * 1024);
          for (let i = 0; i < 128; i++) {
            await conn.write(chunk);
          }
        })().catch(() => {});
        const got = new Uint8Array(answer.length);
        let size = 0;
        for (const buffer = new Uint8Array(16 * 1024);;) {
          const count = await conn.read(buffer).catch(() =>
            null
          );
          if (count === null) break;
          got.set(buffer.subarray(0, count), size);
          size += count;
          // Read more slowly than the other side sends.
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        assertEquals(size, answer.length, from);
        assert(got.every((byte, i) => byte === answer[i]));
        await sending;
      }));
    }
  }, { deadline: 20_000 });
}

for (const from of ["path", "port"]) {
  test(`uds relay --max 1 serves one client of a ${from} after another`, async () => {
    await using dir = new TempDir();
    await using _server = await serve(dir.file("a.sock"), async (conn) => {
      await conn.write(await readAll(conn));
    });
    const listen = from === "path" ? dir.file("f.sock") : "tcp:127.0.0.1:0";
    await using relay = await relaying(["relay", "--max", "1", listen, dir.file("a.sock")]);
    const port = portOf(relay.address);
    const dial = () =>
      port > 0
        ? Deno.connect({ hostname: "127.0.0.1", port })
        : Deno.connect({ transport: "unix", path: listen });
    const first = await dial();
    await first.write(encode("1"));
    using second = await dial();
    await second.write(encode("2"));
    await second.closeWrite();
    const order: string[] = [];
    const answered = readAll(second).then((bytes) => order.push(decode(bytes)));
    await first.closeWrite();
    order.push(decode(await readAll(first)));
    first.close();
    await answered;
    assertEquals(order, ["1", "2"]);
  });
}

test("uds relay --idle closes a connection on which nothing passes", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("a.sock"), async (conn) => {
    await conn.write(encode("hello"));
    await readAll(conn);
  });
  const args = ["relay", "--idle", "0.3", dir.file("f.sock"), dir.file("a.sock")];
  await using relay = await relaying(args);
  await using conn = await connect(dir.file("f.sock"));
  assertEquals(decode(await readAll(conn)), "hello");
  await relay.stderr.until("0.3 s");
  assertStringIncludes(
    await relay.stderr.text(),
    "uds: Closed a connection: nothing has passed for 0.3 s\n",
  );
});

for (const target of ["path", "port"]) {
  test(`uds relay tries a ${target} again until its server has started`, async () => {
    await using dir = new TempDir();
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = taken.addr;
    const to = target === "path" ? dir.file("a.sock") : `tcp:127.0.0.1:${port}`;
    await using _relay = await relaying(["relay", dir.file("f.sock"), to]);
    taken.close();
    await using conn = await connect(dir.file("f.sock"));
    await conn.write(encode("early"));
    await conn.closeWrite();
    using listener = target === "path"
      ? Deno.listen({ transport: "unix", path: dir.file("a.sock") })
      : Deno.listen({ hostname: "127.0.0.1", port });
    using accepted = await listener.accept();
    assertEquals(decode(await readAll(accepted)), "early");
  });
}

test("uds relay closes clients and targets that do not finish their TLS handshake", async () => {
  await using dir = new TempDir();
  const identity = await certificate(dir);
  const sides = ["tls:127.0.0.1:0", dir.file("a.sock")];
  await using relay = await relaying(["relay", "--timeout", "0.5", ...identity, ...sides]);
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const target = `tls:localhost:${silent.addr.port}`;
  await using out = await relaying(["relay", "--timeout", "0.5", dir.file("o.sock"), target]);
  const before = [relay, out].map(({ pid }) => descriptors(pid));
  const port = portOf(relay.address);
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => Deno.connect({ hostname: "127.0.0.1", port })),
  );
  for (const client of clients) {
    assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
  }
  const toTarget = await Promise.all(
    Array.from({ length: 5 }, () => connect(dir.file("o.sock"))),
  );
  for (const client of toTarget) assertEquals((await readAll(client)).length, 0);
  // They are still open on this side, and closed on the other.
  const isBack = () => [relay, out].every(({ pid }, i) => descriptors(pid) < before[i]! + 5);
  while (!isBack()) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const client of [...clients, ...toTarget]) client.close();
  const accepted = await Promise.all(Array.from({ length: 5 }, () => silent.accept()));
  for (const conn of accepted) conn.close();
}, { needs: ["openssl"] });

test("uds relay names the certificate that it cannot use", async () => {
  await using dir = new TempDir();
  for (const name of ["c.pem", "k.pem"]) await Deno.writeTextFile(dir.file(name), "none");
  const identity = ["--cert", dir.file("c.pem"), "--key", dir.file("k.pem")];
  const { code, stderr } = await uds(["relay", ...identity, "tls:127.0.0.1:0", "/tmp/none"]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "Cannot listen on tls:127.0.0.1:0");
}, { needs: ["openssl"] });
