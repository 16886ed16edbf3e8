/**
 * A registry on this machine with one package, for a release that is rehearsed. It takes what
 * `deno publish` sends, and serves it to `jsr:` imports, if the variable `JSR_URL` leads to it.
 */

import { join } from "@std/path/posix";

/** A version that was published. */
interface Version {
  name: string;
  version: string;
  exports: Record<string, string>;
  manifest: Record<string, { size: number; checksum: string }>;
}

/** The call that publishes a version, or that asks for one. */
const PUBLISH = /^\/api\/scopes\/(\w+)\/packages\/(\w+)(?:\/versions\/([\w.-]+))?$/;

/** A registry that serves the last version that was published. */
export class Registry implements AsyncDisposable {
  readonly #directory: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #published: Version | undefined;

  /**
   * Starts a registry.
   *
   * @param directory An empty directory for the files of the package.
   */
  constructor(directory: string) {
    this.#directory = directory;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#answer(request),
    );
  }

  /** The value of `JSR_URL`. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** The number of files that were published. */
  get files(): number {
    return Object.keys(this.#published?.manifest ?? {}).length;
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const [, scope, name, version] = pathname.match(PUBLISH) ?? [];
    if (version !== undefined && request.method === "POST") {
      await this.#publish(`@${scope}/${name}`, version, request);
      return Response.json({ id: "1", status: "success", error: null });
    }
    if (scope !== undefined && version === undefined) return Response.json({ scope, name });
    return await this.#file(pathname);
  }

  async #publish(name: string, version: string, { body }: Request): Promise<void> {
    const tar = new Deno.Command("tar", {
      args: ["--extract", "--gzip", "--directory", this.#directory],
      stdin: "piped",
    }).spawn();
    await body?.pipeTo(tar.stdin);
    if (!(await tar.status).success) throw new Error("tar cannot extract the package");
    const { exports } = JSON.parse(await Deno.readTextFile(join(this.#directory, "deno.json")));
    const manifest: Version["manifest"] = {};
    for (const path of filesBelow(this.#directory)) {
      const bytes = await Deno.readFile(this.#directory + path);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      manifest[path] = { size: bytes.length, checksum: `sha256-${hash.toHex()}` };
    }
    this.#published = { name, version, exports, manifest };
  }

  /** Returns a file of the package, or what describes its versions. */
  async #file(pathname: string): Promise<Response> {
    if (this.#published !== undefined) {
      const { name, version, exports, manifest } = this.#published;
      if (pathname === `/${name}/meta.json`) return Response.json({ versions: { [version]: {} } });
      const base = `/${name}/${version}`;
      if (pathname === `${base}_meta.json`) return Response.json({ exports, manifest });
      const path = pathname.slice(base.length);
      if (pathname.startsWith(`${base}/`) && manifest[path] !== undefined) {
        const type = path.endsWith(".ts") ? "text/typescript" : "text/plain";
        const body = await Deno.readFile(this.#directory + path);
        return new Response(body, { headers: { "content-type": type } });
      }
    }
    return Response.json({ code: "notFound", message: "not published here" }, { status: 404 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Returns the paths of all files below a directory, from there. */
function filesBelow(directory: string, prefix = "/"): string[] {
  return [...Deno.readDirSync(directory + prefix)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(directory, `${prefix}${name}/`) : [`${prefix}${name}`]
  );
}
