/** Shared code of the programs for Deno: the task, the passes, the report, and the two ways. */

const [role, variant, path, ...numbers] = Deno.args;
const [size, warm, count] = numbers.map(Number);

/** The task of this program. */
export const TASK = { role, words: variant?.split(" ") ?? [], path, size, warm, count } as {
  role: "server" | "client" | "parent" | "child";
  /** The words after the name of the program: see `subjects/`. */
  words: string[];
  path: string;
  size: number;
  warm: number;
  count: number;
};

/** The items of the warm-up pass and of the timed pass. */
export const PASSES: readonly number[] = [TASK.warm, TASK.count];

/** The counts of this end, over both passes. */
export const counted = { items: 0, bytes: 0 };

/** Reports that the server listens. */
export function ready(): void {
  Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
}

/** Runs both passes, and returns the seconds of the second one. */
export async function timed(pass: (items: number) => Promise<void>): Promise<number> {
  let seconds = 0;
  for (const items of PASSES) {
    const begin = performance.now();
    await pass(items);
    seconds = (performance.now() - begin) / 1000;
  }
  return seconds;
}

/** Prints the report. This is a program's last call. */
export function report(more: Record<string, number> = {}): void {
  counted.items ||= counted.bytes / TASK.size;
  const line = JSON.stringify({ ...counted, ...more });
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

/** Returns an array that does not start at a page boundary. See "Where buffers start" in README. */
export function offsetBuffer(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length + 4096).subarray(2048, 2048 + length);
}

/** What both ways have: Deno's connections, and those of the library. */
export type Conn =
  & Pick<Deno.UnixConn, "read" | "write" | "closeWrite" | "readable" | "writable">
  & Disposable;

/** How a contender serves, connects and writes. */
export interface Way<C extends Conn = Conn> {
  connect(): Promise<C>;
  /** Serves so many connections, and resolves when they have ended. */
  serve(handler: (conn: C) => Promise<void>, connections?: number): Promise<void>;
  /** Writes all bytes. */
  write(conn: C, data: Uint8Array): Promise<unknown>;
}

/** Deno's own calls. */
export const raw: Way<Deno.UnixConn> = {
  async connect() {
    for (;;) {
      try {
        return await Deno.connect({ transport: "unix", path: TASK.path });
      } catch (error) {
        // The backlog is full.
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  },
  async serve(handler, connections = PASSES.length) {
    const handle = async (conn: Deno.UnixConn) => {
      await handler(conn);
      conn[Symbol.dispose]();
    };
    using listener = Deno.listen({ transport: "unix", path: TASK.path });
    ready();
    const handled: Promise<void>[] = [];
    for (let i = 0; i < connections; i++) handled.push(handle(await listener.accept()));
    await Promise.all(handled);
  },
  // One call of Deno's writes only as many bytes as fit.
  async write(conn, data) {
    for (let sent = 0; sent < data.length;) {
      sent += await conn.write(sent === 0 ? data : data.subarray(sent));
    }
  },
};
