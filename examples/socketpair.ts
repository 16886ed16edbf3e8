/**
 * A parent and its child on a socket pair: ping, pong. The child runs this same file.
 *
 * Terminal: deno run --allow-run --allow-env=NODE_V8_COVERAGE examples/socketpair.ts
 */

import { type Connection, inherited, pair } from "@uds/uds";

async function receiveText(conn: Connection): Promise<string> {
  const buffer = new Uint8Array(1024);
  const count = await conn.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

if (Deno.args[0] === "child") {
  await using conn = inherited();
  console.log("in child, waiting for message");
  console.log(`message from parent: ${await receiveText(conn)}`);
  await conn.writeText("pong");
} else {
  await using child = await pair(new URL(import.meta.url), {
    args: ["child"],
    // A clone needs these two lines. With the package from JSR they can go.
    modules: [new URL("..", import.meta.url)],
    config: new URL("../deno.json", import.meta.url),
    // The child is trusted, so it may share our output. That keeps the lines in order.
    stdout: "inherit",
  });
  console.log("in parent, sending message");
  await child.conn.writeText("ping");
  console.log(`response from child: ${await receiveText(child.conn)}`);
}
