/**
 * Admission to a server: which connections reach its handler. Both callbacks of the user have a
 * time limit, so a client cannot hold a connection that is not served.
 */

import type { Connection } from "../../connection.ts";
import { show } from "../base/check.ts";
import type { ContextOf } from "../base/error_context.ts";
import { timedOut } from "../base/failure.ts";
import { limitWait } from "../base/silence.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import type { Reporter } from "./reporter.ts";
import type { ServeHandlerInfo } from "./serving.ts";

/** The maximum number of connections that are being refused at the same time. */
export const MOST_REFUSALS = 64;

/** How long `onRefuse` may take, until its text is in the kernel. */
const REFUSE_MS = 1000;
const DEFAULT_AUTHORIZE_MS = 5000;

/** The options that decide on connections. */
export interface AdmissionOptions {
  authorize?:
    | ((conn: Connection, info: ServeHandlerInfo) => boolean | Promise<boolean>)
    | undefined;
  authorizeTimeout?: number | undefined;
  onRefuse?: ((conn: Connection, info: ServeHandlerInfo) => unknown) | undefined;
}

/** Asks the user's callbacks about connections. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #contextOf: ContextOf;
  readonly #info: ServeHandlerInfo;
  readonly #reporter: Reporter;

  /**
   * @param options Checked options.
   * @param contextOf Makes the errors.
   * @param info The argument of the callbacks. Its `signal` ends every wait.
   * @param reporter Reports failures.
   */
  constructor(
    options: AdmissionOptions,
    contextOf: ContextOf,
    info: ServeHandlerInfo,
    reporter: Reporter,
  ) {
    this.#options = options;
    this.#contextOf = contextOf;
    this.#info = info;
    this.#reporter = reporter;
  }

  /** Reports whether a connection may reach the handler. Never rejects. */
  async authorize(conn: SocketConnection): Promise<boolean> {
    const { authorize, authorizeTimeout = DEFAULT_AUTHORIZE_MS } = this.#options;
    let isAuthorized = false;
    await this.#within(authorizeTimeout, "authorize", "authorize", async () => {
      const answer: unknown = await authorize?.(conn, this.#info);
      if (typeof answer !== "boolean") {
        const got = show(answer);
        throw new TypeError(`Invalid result of authorize: expected true or false, got ${got}`);
      }
      isAuthorized = answer;
    });
    return isAuthorized;
  }

  /** Calls `onRefuse`, and closes the connection. Never rejects. */
  async refuse(conn: SocketConnection): Promise<void> {
    const { onRefuse } = this.#options;
    if (onRefuse !== undefined) {
      await this.#within(REFUSE_MS, "refuse", "onRefuse", async () => {
        await onRefuse(conn, this.#info);
        await conn[Symbol.asyncDispose]();
      });
    }
    conn.close();
  }

  /** Waits for a callback, and reports its failure. The end of the server ends the wait. */
  #within(
    ms: number,
    operation: string,
    name: "authorize" | "onRefuse",
    call: () => Promise<void>,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stop = limitWait(ms, this.#info.signal, () => {
      const late = timedOut(`it took longer than ${ms} ms`);
      reject(this.#contextOf(operation).fail(late));
    }, resolve);
    call().then(resolve, reject);
    const reported = promise.catch((error) => this.#reporter.report(error, this.#info, name));
    return reported.finally(stop);
  }
}
