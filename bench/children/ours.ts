/** A child on `inherited()`: echoes, or sends, or receives, as its argument says. */

import { inherited } from "@uds/uds";

const [what, total] = [Deno.args[0], Number(Deno.args[1])];
const conn = inherited();
const buffer = new Uint8Array(256 * 1024);
if (what === "echo") {
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    await conn.write(buffer.subarray(0, count));
  }
} else if (what === "send") {
  for (let sent = 0; sent < total; sent += buffer.length) await conn.write(buffer);
} else {
  let received = 0;
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    received += count;
  }
  await conn.write(new TextEncoder().encode(String(received)));
}
conn.close();
