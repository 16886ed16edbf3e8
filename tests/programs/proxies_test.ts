import { claim, delimited, messages, serve, text } from "@uds/uds";
import { assert } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import { Load, Proxy } from "./_http.ts";
import { checked, Relay, UserDir } from "./_programs.ts";

const NAMES = { nginx: "nginx", haproxy: "HAProxy" };
const VERSIONS = { nginx: ["nginx", "-v"], haproxy: ["haproxy", "-v"] };
const RELOADS = 5;
/** Other users, such as that of the proxy, may connect. */
const MODE = 0o666;

/** Reloads a proxy under load. Returns what was checked. */
async function reloadUnderLoad(dir: UserDir, proxy: Proxy, path: string): Promise<string> {
  await using load = await Load.start(dir, path);
  for (let i = 0; i < RELOADS; i++) {
    await load.answered();
    await proxy.reload();
    await proxy.settled();
  }
  await load.answered();
  assert(await load.end() > RELOADS * 1000);
  return `${RELOADS} reloads under load: 40 clients, at least 6,000 requests, none lost`;
}

for (const name of ["nginx", "haproxy"] as const) {
  const options = { needs: [name, "gcc", "curl"], deadline: 30_000 };

  test(`${NAMES[name]} reloads under load in front of Deno.serve on a claimed path`, async () => {
    await using dir = new UserDir();
    const path = dir.file("app.sock");
    await using owned = await claim(path, { mode: MODE });
    await using _server = await owned.bind((path) =>
      Deno.serve({ path, onListen() {} }, () => new Response("hello"))
    );
    await using proxy = await Proxy.start(name, dir, path);
    const what = await reloadUnderLoad(dir, proxy, proxy.path);
    await checked(NAMES[name], VERSIONS[name], "`claim()` with `Deno.serve()` behind it", what);
  }, options);

  test(`${NAMES[name]} reloads under load between uds relay and serve()`, async () => {
    await using dir = new UserDir();
    const path = dir.file("app.sock");
    const head = text(delimited(encode("\r\n\r\n")));
    await using _server = await serve({ path, mode: MODE }, async (conn) => {
      const requests = messages(conn, head);
      for await (const _ of requests) await requests.send("HTTP/1.1 200 OK\r\nContent-Length: 0");
    });
    await using proxy = await Proxy.start(name, dir, path);
    const relayed = dir.file("relayed.sock");
    await using relay = await Relay.start(relayed, proxy.path);
    const what = await reloadUnderLoad(dir, proxy, relayed);
    await relay.end();
    await checked(NAMES[name], VERSIONS[name], "`uds relay` before it, `serve()` behind it", what);
  }, options);
}
