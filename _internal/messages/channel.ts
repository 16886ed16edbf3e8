/** The one implementation of `Messages`: two halves and the connection between them. */

import type { Codec } from "../../framing/codec.ts";
import type {
  ByteChannel,
  Messages,
  MessagesOptions,
  ReceiveOptions,
} from "../../framing/messages.ts";
import { MessageReceiver } from "./receiver.ts";
import { MessageSender } from "./sender.ts";

/** A connection of whole messages, which it owns. */
export class MessageChannel<T> implements Messages<T> {
  readonly #conn: ByteChannel;
  readonly #sender: MessageSender<T>;
  readonly #receiver: MessageReceiver<T>;
  #closed = false;

  constructor(
    conn: ByteChannel,
    codec: Codec<T>,
    options: MessagesOptions & { maxPending: number },
  ) {
    this.#conn = conn;
    this.#sender = new MessageSender(conn, codec, options, (failure) => {
      this.#receiver.fail(failure);
      conn.close?.();
    });
    this.#receiver = new MessageReceiver(conn, codec, options, this.#sender);
  }

  send(message: T): Promise<void> {
    return this.#sender.send(message);
  }

  flush(): Promise<void> {
    return this.#sender.flush();
  }

  receive(options?: ReceiveOptions): Promise<T | undefined> {
    return this.#receiver.receive(options);
  }

  batches(): AsyncIterable<T[]> {
    return this.#receiver.batches();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this.#receiver.messages();
  }

  closeWrite(): Promise<void> {
    return this.#sender.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sender.close();
    this.#receiver.close();
    this.#conn.close?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    const failure = await this.#sender.finish();
    this.close();
    if (failure !== undefined) throw failure;
  }
}
