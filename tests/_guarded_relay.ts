/** A relay that asks its clients for a certificate, for its tests. */

import { serve } from "@uds/uds";
import { authority, type Certificate, issued } from "./_certificates.ts";
import { Process, udsCommand } from "./_cli.ts";
import { decode, encode, readAll, TempDir } from "./_helpers.ts";

/** A server of a path, behind a relay that asks its clients for a certificate. */
export class Guarded implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly dir: TempDir;
  readonly ca: Certificate;
  /** What each client has sent. */
  readonly got: string[] = [];
  relay!: Process;
  port = 0;

  private constructor(stack: AsyncDisposableStack, dir: TempDir, ca: Certificate) {
    this.#stack = stack;
    this.dir = dir;
    this.ca = ca;
  }

  static async start(
    { authorities = [], args = [] }: {
      authorities?: ((dir: TempDir) => Promise<Certificate>)[];
      args?: string[];
    } = {},
  ): Promise<Guarded> {
    const stack = new AsyncDisposableStack();
    const dir = stack.use(new TempDir());
    const ca = await authority(dir, "ca");
    const guarded = new Guarded(stack, dir, ca);
    const all = [ca, ...await Promise.all(authorities.map((make) => make(dir)))];
    const texts = await Promise.all(all.map(({ cert }) => Deno.readTextFile(cert)));
    await Deno.writeTextFile(dir.file("clients.pem"), texts.join(""));
    const { cert, key } = await issued(dir, "server", ca);
    const path = dir.file("a.sock");
    stack.use(
      await serve(path, async (conn) => {
        const all = await readAll(conn);
        guarded.got.push(decode(all));
        await conn.write(encode("got "));
        await conn.write(all);
      }),
    );
    const identity = ["--cert", cert, "--key", key, "--client-ca", dir.file("clients.pem")];
    const command = udsCommand(["relay", ...args, ...identity, "tls:127.0.0.1:0", path]);
    guarded.relay = stack.use(new Process(command));
    await guarded.relay.stderr.until("\n");
    guarded.port = Number(/:(\d+)\n/.exec(await guarded.relay.stderr.text())?.[1]);
    return guarded;
  }

  /** Connects with a certificate or without. Returns what the server answers, or `""`. */
  async ask(text: string, shown?: Certificate): Promise<string> {
    using conn = await Deno.connectTls({
      hostname: "localhost",
      port: this.port,
      caCerts: [await Deno.readTextFile(this.ca.cert)],
      ...(shown && {
        cert: await Deno.readTextFile(shown.cert),
        key: await Deno.readTextFile(shown.key),
      }),
    });
    try {
      await conn.write(encode(text));
      await conn.closeWrite();
      return decode(await readAll(conn));
    } catch {
      return "";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
