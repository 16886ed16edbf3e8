/** Counts frames in the bytes that were read. A frame is a length of four bytes and a body. */
export class FrameCounter {
  items = 0;
  bytes = 0;
  /** The buffer to read into, from `end` on. Before `end` is the beginning of a frame. */
  buffer: Uint8Array<ArrayBuffer> = new Uint8Array(256 * 1024);
  end = 0;
  #view = new DataView(this.buffer.buffer);

  /** Adds `count` bytes that were read at `end`. */
  add(count: number): void {
    const end = this.end + count;
    let start = 0;
    let needed = 0;
    while (end - start >= 4) {
      const length = this.#view.getUint32(start);
      if (end - start - 4 < length) {
        needed = 4 + length;
        break;
      }
      const message = this.buffer.subarray(start + 4, start + 4 + length);
      this.items++;
      this.bytes += message.length;
      start += 4 + length;
    }
    const { buffer } = this;
    if (needed > buffer.length) {
      this.buffer = new Uint8Array(needed);
      this.#view = new DataView(this.buffer.buffer);
    }
    if (start > 0 || this.buffer !== buffer) this.buffer.set(buffer.subarray(start, end));
    this.end = end - start;
  }
}
