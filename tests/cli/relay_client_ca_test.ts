import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect as connectTls } from "node:tls";
import { connect } from "@uds/uds";
import { authority, type Certificate, issued, versionOne } from "../_certificates.ts";
import { Guarded } from "../_guarded_relay.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";

test(
  "uds relay --client-ca serves clients of the authority alone, and reports the others",
  async () => {
    await using guarded = await Guarded.start();
    const { dir, ca, relay } = guarded;
    const other = await authority(dir, "other");
    const refused: [reason: string, shown: Certificate | undefined][] = [
      ["peer sent no certificates", undefined],
      [
        "its certificate is refused (UNABLE_TO_VERIFY_LEAF_SIGNATURE)",
        await issued(dir, "c1", other),
      ],
      ["its certificate is refused (CERT_HAS_EXPIRED)", await issued(dir, "c2", ca, -1)],
      ["its certificate is that of the authority itself", ca],
    ];
    for (const [reason, shown] of refused) {
      assertEquals(await guarded.ask("hello", shown), "", reason);
      await relay.stderr.until(reason);
      assertStringIncludes(await relay.stderr.text(), `tls:127.0.0.1:${guarded.port}: ${reason}\n`);
    }
    assertEquals(await guarded.ask("hello", await issued(dir, "c3", ca)), "got hello");
    assertEquals(guarded.got, ["hello"]);
  },
  { needs: ["openssl"] },
);

test(
  "uds relay --client-ca refuses the certificate of an old authority without its key",
  async () => {
    await using guarded = await Guarded.start({
      authorities: [(dir) => versionOne(dir, "old")],
    });
    const ca = await Deno.readTextFile(guarded.ca.cert);
    const cert = await Deno.readTextFile(guarded.dir.file("old.pem"));
    // node:tls alone accepts it: the certificate is public, and the key is another one's.
    const key = await Deno.readTextFile(guarded.ca.key);
    const { promise, resolve } = Promise.withResolvers<string>();
    const options = { host: "127.0.0.1", servername: "localhost", port: guarded.port };
    let got = "";
    const socket = connectTls({ ...options, ca, cert, key }, () => void socket.end("hello"));
    socket.on("data", (chunk) => got += chunk).on("error", () => {}).on(
      "close",
      () => resolve(got),
    );
    assertEquals(await promise, "");
    await guarded.relay.stderr.until("that of the authority itself");
    assertEquals(guarded.got, []);
  },
  { needs: ["openssl"] },
);

test("uds relay --client-ca passes the ends of both directions on, 10 times of 10", async () => {
  await using guarded = await Guarded.start();
  const { dir, port, ca } = guarded;
  const { cert, key } = await issued(dir, "client", ca);
  const identity = ["--ca", ca.cert, "--cert", cert, "--key", key];
  const command = udsCommand(["relay", ...identity, dir.file("b.sock"), `tls:localhost:${port}`]);
  await using near = new Process(command);
  await near.stderr.until("\n");
  const data = pseudoRandom(512 * 1024, 5).map((byte) => byte & 127);
  for (let i = 0; i < 10; i++) {
    await using conn = await connect(dir.file("b.sock"));
    // Both directions are busy at once, and the client reads only when it has written all.
    await conn.write(data);
    await conn.closeWrite();
    const back = await readAll(conn);
    assertEquals(
      back.length,
      data.length + 4,
      await near.stderr.text() + await guarded.relay.stderr.text(),
    );
    assert(back.subarray(4).every((byte, at) => byte === data[at]));
  }
}, { needs: ["openssl"], deadline: 20_000 });

test("uds relay --client-ca closes clients that do not finish their handshake", async () => {
  await using guarded = await Guarded.start({ args: ["--timeout", "0.3"] });
  const { port, relay } = guarded;
  const descriptors = () => [...Deno.readDirSync(`/proc/${relay.pid}/fd`)].length;
  const before = descriptors();
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => Deno.connect({ hostname: "127.0.0.1", port })),
  );
  for (const client of clients) {
    assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
  }
  while (descriptors() > before + 5) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const client of clients) client.close();
}, { needs: ["openssl"] });

test("uds relay --client-ca is for a LISTEN tls:, and needs a file with certificates", async () => {
  await using dir = new TempDir();
  const file = dir.file("c.pem");
  await Deno.writeTextFile(file, "none");
  const wrong = await uds(["relay", "--client-ca", file, dir.file("a.sock"), "tls:localhost:1"]);
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.stderr, "--client-ca is for a LISTEN tls:");
  const { cert, key } = await authority(dir, "server");
  const identity = ["--cert", cert, "--key", key, "--client-ca", file];
  const empty = await uds(["relay", ...identity, "tls:127.0.0.1:0", dir.file("a.sock")]);
  assertEquals(empty, {
    code: 1,
    stdout: "",
    stderr: `uds: Cannot read "${file}": it has no certificate\n`,
  });
}, { needs: ["openssl"] });
