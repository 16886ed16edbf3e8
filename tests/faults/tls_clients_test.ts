/**
 * # Clients of a TLS port
 *
 * `uds relay --client-ca` serves only clients with a certificate. Others connect, 50 at once.
 */

import { assert, assertEquals } from "@std/assert";
import { authority, type Certificate, issued } from "../_certificates.ts";
import { Guarded } from "../_guarded_relay.ts";
import { pseudoRandom, test } from "../_helpers.ts";

const CLIENTS = 50;

/** How long, in seconds, the relay waits for a handshake. */
const TIMEOUT_S = 1;

/** The first bytes of a ClientHello, which says that 512 follow. */
const HALF_A_HELLO = new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);

/** What each client does. It resolves when the relay has closed it. */
const HOSTILE: Record<string, (guarded: Guarded, other: Certificate) => Promise<void>> = {
  "has no certificate": async (guarded) => assertEquals(await guarded.ask("evil"), ""),
  "has one of another authority": async (guarded, other) =>
    assertEquals(await guarded.ask("evil", other), ""),
  "stalls before its handshake": ({ port }) => sendRaw(port, new Uint8Array()),
  "stalls in its handshake": ({ port }) => sendRaw(port, HALF_A_HELLO),
  "sends garbage": ({ port }) => sendRaw(port, pseudoRandom(100_000, port)),
};

/** Sends bytes without TLS, and reads until the relay has closed the connection. */
async function sendRaw(port: number, bytes: Uint8Array): Promise<void> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    const buffer = new Uint8Array(1000);
    while (await conn.read(buffer) !== null);
  } catch (error) {
    // What the relay has not read is reset.
    assert(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe);
  }
}

for (const [what, attack] of Object.entries(HOSTILE)) {
  /**
   * Fault: Clients of a TLS port that have no certificate, have one of another authority, stall
   * before or in their handshake, or send garbage
   * How: 50 at once, at `uds relay --client-ca --timeout 1`
   * Then: All are closed, and the server behind it hears nothing of them. A client with a
   * certificate is served meanwhile. No descriptor is left
   */
  test(`uds relay --client-ca serves a good client while each of ${CLIENTS} ${what}`, async () => {
    await using guarded = await Guarded.start({ args: ["--timeout", `${TIMEOUT_S}`] });
    const { dir, ca, relay } = guarded;
    const good = await issued(dir, "good", ca);
    const other = await issued(dir, "other", await authority(dir, "another"));
    const descriptors = () => [...Deno.readDirSync(`/proc/${relay.pid}/fd`)].length;
    // The first connection opens what stays.
    assertEquals(await guarded.ask("first", good), "got first");
    const before = descriptors();
    const attacks = Array.from({ length: CLIENTS }, () => attack(guarded, other));
    const [answer] = await Promise.all([guarded.ask("good", good), ...attacks]);
    assertEquals(answer, "got good");
    assertEquals(await guarded.ask("last", good), "got last");
    while (descriptors() > before) await new Promise((resolve) => setTimeout(resolve, 10));
    assertEquals(guarded.got, ["first", "good", "last"]);
    relay.kill("SIGTERM");
    assertEquals((await relay.ended).code, 0);
  }, { needs: ["openssl"], deadline: 30_000 });
}
