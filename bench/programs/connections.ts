/**
 * Bytes over connections. The words are the work, the way, and what the work needs:
 *
 * - `trips` sends an item and reads it back, on as many connections at once as the words say.
 * - `bulk` and `echo` move chunks, with buffers that start at a page boundary (`plain`) or not.
 *   With `sendBuffer` the kernel takes a chunk of `bulk` at once. `streams` and `pipeTo` are the
 *   same with Web streams, `relay` echoes with `relay()`.
 * - `connect` is a connection for each byte.
 */

import type { Connection } from "@uds/uds";
import { type Conn, counted, offsetBuffer, PASSES, raw, report, TASK, timed } from "./_program.ts";
import { way } from "./_way.ts";

const { size, words } = TASK;
const { connect, serve, write } = await way();
const connections = words.map(Number).find((word) => word > 0) ?? 1;
const buffer = words.includes("offset") ? offsetBuffer(size) : new Uint8Array(size);
const nothing = new Uint8Array(16);

/** Returns what a connection of each pass gets. */
const totals = PASSES.map((items) => items * size).values();

/** Reads the bytes of a pass, and more if they come. */
async function readAll(read: () => Promise<number | null>, total: number): Promise<void> {
  let got = 0;
  while (got < total) got += await read() ?? Infinity;
  counted.bytes += got;
}

/** Sends back what comes. */
async function echo(conn: Conn, buffer: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let count; (count = await conn.read(buffer)) !== null;) {
    await write(conn, buffer.subarray(0, count));
    counted.bytes += count;
  }
}

/** Sends the chunks of a pass, and waits until the other end has them all and closes. */
async function send(conn: Conn, items: number, write: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < items; i++) {
    await write();
    counted.items++;
    counted.bytes += size;
  }
  await conn.read(nothing);
}

async function enlargeSendBuffer(conn: Conn): Promise<void> {
  const { setBufferSizes } = await import("@uds/uds/native");
  setBufferSizes(conn as Connection, { send: size });
}

/** Each work: the server's handler of a connection, and the client, which returns the seconds. */
const WORKS: Record<string, [(conn: Conn) => Promise<void>, () => Promise<number>]> = {
  trips: [(conn) => echo(conn, new Uint8Array(1024)), async () => {
    const item = new Uint8Array(size);
    const conns: Conn[] = [];
    for (let i = 0; i < connections; i++) conns.push(await connect());
    const seconds = await timed(async (items) => {
      let left = items;
      await Promise.all(conns.map(async (conn) => {
        const buffer = new Uint8Array(1024);
        while (left-- > 0) {
          await write(conn, item);
          let got = 0;
          while (got < size) got += await conn.read(buffer) ?? Infinity;
          counted.items++;
          counted.bytes += got;
        }
      }));
    });
    for (const conn of conns) conn[Symbol.dispose]();
    return seconds;
  }],
  bulk: [
    (conn) => readAll(() => conn.read(buffer), totals.next().value!),
    () =>
      timed(async (items) => {
        using conn = await connect();
        if (words.includes("sendBuffer")) await enlargeSendBuffer(conn);
        await send(conn, items, () => write(conn, buffer));
      }),
  ],
  streams: [async (conn) => {
    const total = totals.next().value!;
    let got = 0;
    for await (const chunk of conn.readable) {
      got += chunk.length;
      if (got >= total) break;
    }
    counted.bytes += got;
  }, () =>
    timed(async (items) => {
      using conn = await connect();
      const writer = conn.writable.getWriter();
      await send(conn, items, () => writer.write(buffer));
    })],
  echo: [(conn) => echo(conn, buffer), () =>
    timed(async (items) => {
      using conn = await raw.connect();
      const [outgoing, incoming] = [offsetBuffer(size), offsetBuffer(size)];
      const sent = async () => {
        for (let i = 0; i < items; i++) await raw.write(conn, outgoing);
      };
      await Promise.all([sent(), readAll(() => conn.read(incoming), items * size)]);
    })],
  pipeTo: [async (conn) => {
    // At its end Deno's stream closes the connection, and `writable` fails. The client counts.
    await conn.readable.pipeTo(conn.writable).catch((error) => {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    });
    counted.bytes += totals.next().value!;
  }, () => Promise.reject()],
  connect: [async (conn) => {
    const count = await conn.read(new Uint8Array(16));
    counted.bytes += count ?? 0;
  }, () =>
    timed(async (items) => {
      for (let i = 0; i < items; i++) {
        using conn = await connect();
        counted.bytes += await conn.write(buffer);
        if (await conn.read(nothing) !== null) throw new Error("no end");
        counted.items++;
      }
    })],
};

const work = words[0] as string;
if (TASK.role === "client") {
  report({ seconds: await WORKS[work]![1]() });
} else if (work === "relay") {
  const [{ relay }, { uds }] = [await import("@uds/uds"), await import("./_uds.ts")];
  await uds.serve(async (conn) => {
    // Not added in one expression: another handler adds while this one waits.
    const { aToB } = await relay(conn, conn);
    counted.bytes += aToB;
  });
  report();
} else {
  const each = work === "connect" ? TASK.warm + TASK.count : undefined;
  await serve(WORKS[work]![0], work === "trips" ? connections : each);
  report();
}
