/** The `writable` of a connection. */

import { showCallers } from "../base/caller_stack.ts";
import { addPipeTarget, removePipeTarget } from "./pipe.ts";

/** The writing side of a connection. */
interface Sink {
  write(data: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
}

/** Returns a stream that writes to the connection. */
export function openWritable(conn: Sink): WritableStream<Uint8Array> {
  const stream = new WritableStream<Uint8Array>({
    // The stream itself calls abort() only after the write under way, which may never end.
    start: ({ signal }) => signal.addEventListener("abort", () => conn.close(), { once: true }),
    write: async (chunk) => void await conn.write(chunk),
    close: () => {
      removePipeTarget(stream);
      return conn.closeWrite();
    },
    abort: () => conn.close(),
  });
  addPipeTarget(stream);
  const getWriter = stream.getWriter.bind(stream);
  stream.getWriter = () => {
    const writer = getWriter();
    // Not for close(): its promise must settle before `closed`.
    showCallers(writer, "write");
    return writer;
  };
  return stream;
}
