/** A child of `Deno.Command`, with the pipes of its standard input and output. */

import { fromFileUrl } from "@std/path/posix";
import { denoArgs } from "./_child.ts";
import { CHILD_ARGS, drive, PASSES, SIGNAL_SIZE, TASK } from "./_parent.mjs";

const item = new Uint8Array(TASK.size);

/** Returns a channel over the streams of either end. */
function channel(readable: ReadableStream<Uint8Array>, writable: WritableStream<Uint8Array>) {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  return {
    writer,
    write: (data: Uint8Array) => writer.write(data),
    async read(total: number): Promise<number> {
      let got = 0;
      while (got < total) got += (await reader.read()).value?.length ?? Infinity;
      return got;
    },
    async echo(): Promise<void> {
      for (let chunk; (chunk = (await reader.read()).value) !== undefined;) {
        await writer.write(chunk);
      }
    },
  };
}

if (TASK.role === "parent") {
  await drive(() => {
    const args = denoArgs(fromFileUrl(import.meta.url), CHILD_ARGS);
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" })
      .spawn();
    const { read, write, writer } = channel(child.stdout, child.stdin);
    return {
      async trip() {
        await write(item);
        return await read(TASK.size);
      },
      async down(total: number) {
        await write(new Uint8Array(SIGNAL_SIZE));
        return await read(total);
      },
      async up(items: number) {
        for (let i = 0; i < items; i++) await write(item);
        await read(SIGNAL_SIZE);
        return items * TASK.size;
      },
      async end() {
        await writer.close();
        await child.status;
      },
    };
  });
} else {
  const { read, write, echo } = channel(Deno.stdin.readable, Deno.stdout.writable);
  if (TASK.what === "down") {
    for (const items of PASSES) {
      await read(SIGNAL_SIZE);
      for (let i = 0; i < items; i++) await write(item);
    }
  } else if (TASK.what === "up") {
    for (const items of PASSES) {
      await read(items * TASK.size);
      await write(new Uint8Array(SIGNAL_SIZE));
    }
  } else {
    await echo();
  }
}
