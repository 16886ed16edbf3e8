/** A child on `pair`, with `inherited` at its end. */

import { inherited, pair } from "@uds/uds/pair";
import { fromFileUrl } from "@std/path/posix";
import { CHILD_ARGS, drive, PASSES, SIGNAL_SIZE, TASK } from "./_parent.mjs";
import { denoArgs } from "./_child.ts";

const buffer = new Uint8Array(256 * 1024);
const item = new Uint8Array(TASK.size);

if (TASK.role === "parent") {
  await drive(async () => {
    const args = denoArgs(fromFileUrl(import.meta.url), CHILD_ARGS);
    const { conn, status } = await pair(Deno.execPath(), { args });
    const read = async (total: number) => {
      let got = 0;
      while (got < total) got += await conn.read(buffer) ?? Infinity;
      return got;
    };
    return {
      async trip() {
        await conn.write(item);
        return await read(TASK.size);
      },
      async down(total: number) {
        await conn.write(new Uint8Array(SIGNAL_SIZE));
        return await read(total);
      },
      async up(items: number) {
        let sent = 0;
        for (let i = 0; i < items; i++) sent += await conn.write(item);
        await read(SIGNAL_SIZE);
        return sent;
      },
      async end() {
        conn.close();
        await status;
      },
    };
  });
} else {
  const conn = inherited();
  const read = async (total: number) => {
    let got = 0;
    while (got < total) got += await conn.read(buffer) ?? Infinity;
    if (got !== total) throw new Error(`${got} of ${total} bytes`);
  };
  if (TASK.what === "down") {
    for (const items of PASSES) {
      await read(SIGNAL_SIZE);
      for (let i = 0; i < items; i++) await conn.write(item);
    }
  } else if (TASK.what === "up") {
    for (const items of PASSES) {
      await read(items * TASK.size);
      await conn.write(new Uint8Array(SIGNAL_SIZE));
    }
  } else {
    for (let count; (count = await conn.read(buffer)) !== null;) {
      await conn.write(buffer.subarray(0, count));
    }
  }
  conn.close();
}
