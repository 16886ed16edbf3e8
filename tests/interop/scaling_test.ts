import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import { connect, lines, type Messages, messages, serve } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import {
  decode,
  encode,
  makeStale,
  Program,
  pseudoRandom,
  readAll,
  ROOT,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import type { Certificate } from "../_certificates.ts";
import { sshd } from "../_sshd.ts";
import { ask, block, certificates, freePort, listening, machine, replaced } from "./_scaling.ts";

const STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";

/**
 * The command of the program that is in front of two machines, with the configuration of the page.
 */
const FRONTS: Record<
  string,
  (dir: TempDir, port: number, machines: readonly [number, number]) => Promise<string[]>
> = {
  haproxy: async (dir, port, [one, two]) => {
    const configuration = replaced(block("haproxy", "backend app"), {
      ":8443": `127.0.0.1:${port}`,
      "/etc/app/": `${dir.path}/`,
      "one.example:9443 verifyhost one.example": `127.0.0.1:${one} verifyhost localhost`,
      "two.example:9443 verifyhost two.example": `127.0.0.1:${two} verifyhost localhost`,
    });
    await Deno.writeTextFile(dir.file("haproxy.cfg"), configuration);
    return ["haproxy", "-db", "-f", dir.file("haproxy.cfg")];
  },
  nginx: async (dir, port, [one, two]) => {
    const configuration = replaced(block("nginx", "stream {"), {
      "listen 8443": `listen 127.0.0.1:${port}`,
      "/etc/app/": `${dir.path}/`,
      "one.example:9443": `127.0.0.1:${one}`,
      "two.example:9443": `127.0.0.1:${two}`,
      "proxy_ssl_name app.example": "proxy_ssl_name localhost",
    });
    await Deno.writeTextFile(
      dir.file("nginx.conf"),
      `load_module ${STREAM_MODULE};
      daemon off; master_process off; pid ${dir.file("nginx.pid")}; error_log stderr;
      events {}
      ${configuration}`,
    );
    return ["nginx", "-e", "stderr", "-p", dir.path, "-c", dir.file("nginx.conf")];
  },
};

/** Debian has the stream module of nginx in a package of its own. */
function missingModules(name: string): string[] {
  if (name !== "nginx") return [];
  try {
    Deno.statSync(STREAM_MODULE);
    return [];
  } catch {
    return [STREAM_MODULE];
  }
}

for (const [name, inFront] of Object.entries(FRONTS)) {
  test(
    `${name} shares clients with certificates among the paths of two machines, as docs/scaling.md configures it`,
    async () => {
      await using dir = new TempDir();
      const all = await certificates(dir);
      const [one, two] = await Promise.all([machine(dir, "one", all), machine(dir, "two", all)]);
      await using _one = one.stack;
      await using _two = two.stack;
      const port = freePort();
      await using _front = await listening(
        await inFront(dir, port, [one.port, two.port]),
        port,
      );
      const near = async ({ cert, key }: { cert: string; key: string }, path: string) => {
        const line = replaced(block("text", "far.sock"), {
          "client.pem": cert,
          "client.key": key,
          "ca.pem": all.ca.cert,
          "/run/app/far.sock": path,
          "one.example:9443": `localhost:${port}`,
        });
        const relay = new Process(udsCommand(line.trim().split(" ").slice(1)));
        await relay.stderr.until("\n");
        return relay;
      };
      const [path, refused] = [dir.file("far.sock"), dir.file("refused.sock")];
      await using _near = await near(all.client, path);
      await using _foreign = await near(all.foreign, refused);
      const request = pseudoRandom(256 * 1024, 3);
      const seen = new Set<string>();
      for (let i = 0; i < 4; i++) {
        const answer = await ask(path, request);
        seen.add(decode(answer.subarray(0, 4)));
        assertEquals(answer.length, request.length + 4);
        assert(answer.subarray(4).every((byte, at) => byte === request[at]));
      }
      assertEquals([...seen].sort(), ["one ", "two "]);
      const answer = await ask(refused, encode("?")).catch(() => new Uint8Array());
      assertEquals(answer.length, 0);
      // The other machine serves what this one does not.
      await one.stack.disposeAsync();
      for (let i = 0; i < 2; i++) assertEquals(decode(await ask(path, encode("?"))), "two ?");
    },
    { needs: [name, "openssl", ...missingModules(name)], deadline: 20_000 },
  );
}

/** Starts HAProxy, which passes on the name in a certificate, in front of a path. */
async function naming(
  dir: TempDir,
  change: (configuration: string) => string = (same) => same,
): Promise<{ front: Program; ask(client: Certificate): ReturnType<typeof run> }> {
  const { ca } = await certificates(dir);
  await Deno.rename(dir.file("front.pem"), dir.file("one.pem"));
  const port = freePort();
  const configuration = replaced(block("haproxy", "X-Client-Name"), {
    ":9443": `127.0.0.1:${port}`,
    "/etc/app/": `${dir.path}/`,
    "/run/app/app.sock": dir.file("app.sock"),
  });
  await Deno.writeTextFile(dir.file("haproxy.cfg"), change(configuration));
  return {
    front: await listening(["haproxy", "-db", "-f", dir.file("haproxy.cfg")], port),
    ask: ({ cert, key }) =>
      run("curl", [
        ...["-sS", "--cacert", ca.cert, "--cert", cert, "--key", key],
        ...["-H", "X-Client-Name: forged", `https://localhost:${port}/`],
      ]),
  };
}

/** Answers a request of HTTP with a part of what was read first. */
function answering(dir: TempDir, part: (head: string) => string) {
  return serve(dir.file("app.sock"), async (conn) => {
    const buffer = new Uint8Array(4096);
    const body = part(decode(buffer.subarray(0, await conn.read(buffer) ?? 0)));
    await conn.write(
      encode(
        `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      ),
    );
  });
}

test("HAProxy passes on the name in a certificate, as docs/scaling.md configures it", async () => {
  await using dir = new TempDir();
  await using _server = await answering(
    dir,
    (head) => [...head.matchAll(/^x-client-name: (.*)\r$/gim)].map(([, name]) => name).join(),
  );
  const { front, ask } = await naming(dir);
  await using _front = front;
  const named = await ask({ cert: dir.file("client.pem"), key: dir.file("client.key") });
  assertEquals(named, { code: 0, stdout: "client", stderr: "" });
  const foreign = await ask({ cert: dir.file("foreign.pem"), key: dir.file("foreign.key") });
  assertEquals([foreign.code !== 0, foreign.stdout], [true, ""]);
}, { needs: ["haproxy", "curl", "openssl"] });

test(
  "HAProxy passes on the name before the first byte, as docs/scaling.md describes it",
  async () => {
    await using dir = new TempDir();
    await using _server = await answering(
      dir,
      (head) =>
        `${head.startsWith("\r\n\r\n\0\r\nQUIT\n")} ${head.split("GET /")[0]!.includes("client")}`,
    );
    const { front, ask } = await naming(dir, (configuration) =>
      replaced(configuration, {
        "mode http": "mode tcp",
        "http-request set-header X-Client-Name %[ssl_c_s_dn(cn)]": "",
        "app.sock": "app.sock send-proxy-v2-ssl-cn",
      }));
    await using _front = front;
    const { stdout } = await ask({ cert: dir.file("client.pem"), key: dir.file("client.key") });
    assertEquals(stdout, "true true");
  },
  { needs: ["haproxy", "curl", "openssl"] },
);

test(
  "ssh forwards a path of another machine, and replaces a stale file, as docs/scaling.md configures it",
  async () => {
    await using dir = new TempDir();
    const [near, far] = [dir.file("far.sock"), dir.file("app.sock")];
    await using _server = await serve(far, async (conn) => {
      await conn.write(await readAll(conn));
    });
    await makeStale(near);
    const configuration = replaced(block("ssh-config", "LocalForward"), {
      "/run/app/far.sock": near,
      "/run/app/app.sock": far,
      "one.example": "localhost",
    });
    await Deno.writeTextFile(dir.file("ssh_config"), configuration);
    const args = (await sshd(dir)).filter((arg, i, all) => arg !== "-F" && all[i - 1] !== "-F");
    await using ssh = new Process(["ssh", "-F", dir.file("ssh_config"), ...args, "-N", "one"]);
    const { code, stdout, stderr } = await uds(["send", "--wait", near, "hello"]);
    assertEquals([code, stdout, stderr], [0, "hello", ""], await ssh.stderr.text());
    assertEquals((await Deno.lstat(near)).mode! & 0o777, 0o600);
  },
  { needs: ["ssh", "sshd", "ssh-keygen"] },
);

test(
  "Redis passes the line of a client on to the clients of all machines, as docs/scaling.md has it",
  async () => {
    await using dir = new TempDir();
    const redis = dir.file("redis.sock");
    const options = ["--port", "0", "--unixsocket", redis, "--save", "", "--dir", dir.path];
    await using _redis = new Program("redis-server", options);
    const script = dir.file("hub.ts");
    await Deno.writeTextFile(script, replaced(block("ts ignore", "SUBSCRIBE"), { "jsr:": "" }));
    const paths = [dir.file("one.sock"), dir.file("two.sock")];
    await using stack = new AsyncDisposableStack();
    const args = ["run", "--quiet", "--config", join(ROOT, "deno.json"), "--no-lock", "-A", script];
    for (const path of paths) stack.use(new Process([Deno.execPath(), ...args, path, redis]));
    const heard = async (client: Messages<string>, text: string) => {
      for await (const line of client) if (line === text) return;
    };
    const clients = [];
    for (const path of paths) {
      const conn = await connect({ path, wait: true, timeout: 20_000 });
      const client = stack.use(messages(conn, lines()));
      clients.push(client);
      // Its daemon then knows it, and has subscribed.
      await client.send("ready");
      await heard(client, "ready");
    }
    const [one, two] = clients as [Messages<string>, Messages<string>];
    for (const text of ["hello", 'a "quoted" word', "größer"]) {
      await one.send(text);
      await Promise.all([heard(one, text), heard(two, text)]);
    }
  },
  { needs: ["redis-server"] },
);
