/** Shared code of the programs for Deno: arguments, passes, report. */

const [role, variant, path, ...numbers] = Deno.args;
const [size, warm, count] = numbers.map(Number);

/** The task of this program. */
export const TASK = { role, variant, path, size, warm, count } as {
  role: "server" | "client" | "parent" | "child";
  variant: string;
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
export function report(more: { seconds?: number; memory?: number } = {}): void {
  const line = JSON.stringify({ ...counted, ...more });
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

/** Returns an array that does not start at a page boundary. See "Where buffers start" in README. */
export function offsetBuffer(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length + 4096).subarray(2048, 2048 + length);
}

/** Writes all bytes. One call of Deno's writes only as many as fit. */
export async function writeAll(conn: Deno.UnixConn, data: Uint8Array): Promise<void> {
  for (let sent = 0; sent < data.length;) {
    sent += await conn.write(sent === 0 ? data : data.subarray(sent));
  }
}

/** Serves one connection per pass with a plain listener, one after the other. */
export async function listenRaw(handler: (conn: Deno.UnixConn) => Promise<void>): Promise<void> {
  using listener = Deno.listen({ transport: "unix", path: TASK.path });
  ready();
  for (const _ of PASSES) {
    const conn = await listener.accept();
    await handler(conn);
    conn[Symbol.dispose]();
  }
}

/** Connects without the library, and retries while the backlog is full. */
export async function connectRaw(): Promise<Deno.UnixConn> {
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path: TASK.path });
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}
