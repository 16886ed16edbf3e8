/** Many connections that exchange one byte each way, and then wait in a read. */

import { counted, TASK } from "../_program.ts";

type Channel = Pick<Deno.UnixConn, "read" | "write"> & Disposable;

const { gc } = globalThis as unknown as { gc: () => void };

/** Returns the resident memory of this process after a collection. */
async function settledMemory(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Deno.memoryUsage().rss;
}

/** The connections of one end. */
export class Crowd {
  readonly #over: Promise<void>[] = [];
  #step: () => void = () => {};
  #first: Channel | undefined;

  /** Handles one connection of the server. */
  async answer(conn: Channel): Promise<void> {
    const buffer = new Uint8Array(1024);
    counted.bytes += await conn.read(buffer) ?? 0;
    await conn.write(buffer.subarray(0, TASK.size));
    counted.items++;
    this.#first ??= conn;
    this.#step();
    const waiting = conn.read(buffer).then(() => {});
    this.#over.push(waiting);
    await waiting;
  }

  /**
   * Waits for the connections of both passes, allows the client to close them, and returns
   * the growth of the memory in the second pass.
   */
  async weigh(): Promise<number> {
    await this.#reached(TASK.warm);
    const before = await settledMemory();
    await this.#reached(TASK.warm + TASK.count);
    const memory = await settledMemory() - before;
    await this.#first?.write(new Uint8Array(1));
    return memory;
  }

  /** Resolves when all connections have ended. */
  async over(): Promise<void> {
    await Promise.all(this.#over);
  }

  /** Opens all connections of the client, weighs them, and closes them. */
  async fill(open: () => Promise<Channel>): Promise<{ seconds: number; memory: number }> {
    const conns: Channel[] = [];
    const more = async (items: number) => {
      for (let i = 0; i < items; i++) {
        const conn = await open();
        const buffer = new Uint8Array(1024);
        conns.push(conn);
        await conn.write(buffer.subarray(0, TASK.size));
        counted.bytes += await conn.read(buffer) ?? 0;
        counted.items++;
        this.#over.push(conn.read(buffer).then(() => {}, () => {}));
      }
    };
    await more(TASK.warm);
    const before = await settledMemory();
    const begin = performance.now();
    await more(TASK.count);
    const seconds = (performance.now() - begin) / 1000;
    const memory = await settledMemory() - before;
    // The other end measures its memory as well, and sends a byte when it is done.
    await this.#over[0];
    for (const conn of conns) conn[Symbol.dispose]();
    await this.over();
    return { seconds, memory };
  }

  #reached(items: number): Promise<void> {
    return new Promise((resolve) => {
      this.#step = () => {
        if (counted.items >= items) resolve();
      };
      this.#step();
    });
  }
}
