/** A child of `Deno.Command`, with the pipes of its standard input and output. */

import { type End, run } from "./_pair.ts";

function endOf(
  readable: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  ended?: Promise<unknown>,
): End {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  return {
    async read(total) {
      let got = 0;
      while (got < total) got += (await reader.read()).value?.length ?? Infinity;
      return got;
    },
    write: (data) => writer.write(data),
    async echo() {
      for (let chunk; (chunk = (await reader.read()).value) !== undefined;) {
        await writer.write(chunk);
      }
    },
    async close() {
      await writer.close();
      await ended;
    },
  };
}

await run(import.meta.url, (args) => {
  const command = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" });
  const child = command.spawn();
  return endOf(child.stdout, child.stdin, child.status);
}, () => endOf(Deno.stdin.readable, Deno.stdout.writable));
