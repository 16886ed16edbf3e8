/** Headless Chromium with one page, driven by its DevTools protocol. */

/** How long Chromium may take to start, or to answer. */
const LIMIT_MS = 30_000;

/** The part of an answer or an event that is used. */
interface Message {
  id?: number;
  method?: string;
  error?: { message: string };
  result?: unknown;
}

/** A browser with one page. */
export class Browser implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number | string, (message: Message) => void>();
  #lastId = 0;

  private constructor(child: Deno.ChildProcess, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data) as Message;
      const key = message.id ?? message.method ?? "";
      this.#waiting.get(key)?.(message);
      this.#waiting.delete(key);
    };
  }

  /** Starts Chromium, and connects to its page. */
  static async start(): Promise<Browser> {
    const profile = await Deno.makeTempDir({ prefix: "uds-" });
    const child = new Deno.Command("chromium", {
      // Chromium has no sandbox for root. The pages are our own.
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        "about:blank",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const port = await portOf(child.stderr);
    const pages = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const page = pages.find(({ type }: { type: string }) => type === "page");
    const socket = new WebSocket(page.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const browser = new Browser(child, profile, socket);
    await browser.#call("Page.enable");
    return browser;
  }

  /** Opens a page in a window of a width, and returns how wide it is. */
  async open(url: string, width: number): Promise<number> {
    await this.#call("Emulation.setDeviceMetricsOverride", {
      width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false,
    });
    const loaded = this.#next("Page.loadEventFired");
    await this.#call("Page.navigate", { url });
    await loaded;
    const { result } = await this.#call("Runtime.evaluate", {
      expression: "document.documentElement.scrollWidth",
    }) as { result: { value: number } };
    return result.value;
  }

  /** Returns a picture of the page that is open, as PNG, from its beginning. */
  async picture(width: number, height: number): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.#call("Page.captureScreenshot", {
      captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height, scale: 1 },
    }) as { data: string };
    return Uint8Array.fromBase64(data);
  }

  async #call(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#lastId;
    const answer = this.#next(id);
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer;
    if (error) throw new Error(`Chromium cannot do ${method}: ${error.message}`);
    return result;
  }

  /** Resolves to the answer with an identifier, or to the next event with a name. */
  #next(key: number | string): Promise<Message> {
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const late = () => reject(new Error(`Chromium did not answer ${key} in ${LIMIT_MS} ms`));
    const timer = setTimeout(late, LIMIT_MS);
    this.#waiting.set(key, (message) => {
      clearTimeout(timer);
      resolve(message);
    });
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await Deno.remove(this.#profile, { recursive: true });
  }
}

/** Returns the port that Chromium prints on standard error, and drops what comes after it. */
async function portOf(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Chromium has ended: ${text.trim()}`);
    text += value;
    const [, port] = text.match(/listening on ws:\/\/[^:]+:(\d+)/) ?? [];
    if (port === undefined) continue;
    reader.releaseLock();
    return port;
  }
}
