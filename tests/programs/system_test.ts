import { connect, delimited, json, lines, messages, text } from "@uds/uds";
import { bindPackets, socketpair } from "@uds/uds/native";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { decode, encode, Program, run, test, turn } from "../_helpers.ts";
import { asUser, checked, output, Relay, stop, UserDir } from "./_programs.ts";

// Loads libc before the tests: it stays loaded, which a test must not cause.
for (const socket of socketpair({ type: "dgram" })) socket.close();

test("logger reaches rsyslog through bindPackets(), which passes each datagram on", async () => {
  await using dir = new UserDir();
  const [path, log] = [dir.file("rsyslog.sock"), dir.file("out")];
  await Deno.writeTextFile(
    dir.file("conf"),
    `module(load="imuxsock" SysSock.Use="off")
    input(type="imuxsock" Socket="${path}" RateLimit.Interval="0")
    template(name="line" type="string" string="%programname%%msg%\\n")
    action(type="omfile" file="${log}" template="line")
    `,
  );
  const [program = "", ...args] = asUser("rsyslogd", "-n", "-f", dir.file("conf"), "-i", "NONE");
  await using server = new Program(program, args);
  await using relay = await bindPackets({ path: dir.file("log.sock"), mode: 0o666 });
  const count = 1000;
  const input = Array.from({ length: count }, (_, i) => `message ${i}\n`).join("");
  const logging = run("logger", ["-u", dir.file("log.sock"), "-t", "uds"], input);
  for (let i = 0; i < count;) {
    const { packet } = await relay.receive();
    assertStringIncludes(decode(packet), `message ${i++}`);
    // rsyslog may have yet to start.
    for (;;) {
      const failure = await relay.send(packet, path).then(() => null, (error) => error);
      if (failure === null) break;
      if (i > 1 || !(failure instanceof Deno.errors.NotFound)) throw failure;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  assertEquals((await logging).code, 0);
  // At its end it would leave the datagrams that still wait in its socket.
  while (!await Deno.readTextFile(log).then((text) => text.includes(`message ${count - 1}\n`))) {
    await turn();
  }
  await stop(server);
  const lines = input.trimEnd().split("\n").map((line) => `uds ${line}`);
  assertEquals((await Deno.readTextFile(log)).trimEnd().split("\n"), lines);
  const what = "1,000 messages received, passed on to rsyslog, written by it in order";
  await checked("rsyslog, `logger`", ["rsyslogd", "-v"], "`bindPackets()`", what);
}, { needs: ["rsyslogd", "logger"], deadline: 30_000 });

/** Reports whether a file exists. */
async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

/** Where Debian has the only server of Varlink that starts without a service manager. */
const USERWORK = "/lib/systemd/systemd-userwork";

test("messages() calls a Varlink server of systemd", async () => {
  interface Reply {
    parameters: {
      record?: { userName: string; uid: number };
      userName?: string;
      groupName?: string;
      method?: string;
    };
    error?: string;
    continues?: boolean;
  }
  await using dir = new UserDir();
  const path = dir.file("v.sock");
  const activate = ["systemd-socket-activate", "-E", "USERDB_FIXED_WORKER=1", "-l", path];
  const [program = "", ...args] = asUser(...activate, USERWORK);
  await using server = new Program(program, args);
  // A message ends with a byte of zero.
  const codec = json<Reply, unknown>(text(delimited(encode("\0"))));
  await using session = messages(await connect({ path, wait: true, timeout: Infinity }), codec);
  const service = "io.systemd.NameServiceSwitch";
  const call = async (method: string, parameters: unknown, more = false) => {
    await session.send({ method, parameters, ...(more && { more }) });
    const replies: Reply[] = [];
    do replies.push((await session.receive())!); while (replies.at(-1)!.continues);
    return replies;
  };
  const get = "io.systemd.UserDatabase.GetUserRecord";
  const [root] = await call(get, { service, userName: "root" });
  assertEquals(root?.parameters.record?.uid, 0);
  const [unknown] = await call(get, { service, userName: "nobody-has-this-name" });
  assertEquals(unknown?.error, "io.systemd.UserDatabase.NoRecordFound");
  // All users, each in a reply of its own.
  const all = await call(get, { service }, true);
  const names = all.flatMap(({ parameters: { record } }) => record?.userName ?? []);
  const passwd = (await Deno.readTextFile("/etc/passwd")).trimEnd().split("\n");
  assertEquals(names.length >= passwd.length, true, names.join());
  const [missing] = await call("org.example.Missing", {});
  assertEquals(missing?.error, "org.varlink.service.MethodNotFound");
  await stop(server);
  const what = "calls, errors, one call with a reply for each user";
  const version = ["systemd-socket-activate", "--version"];
  await checked("Varlink: systemd-userwork", version, "`messages()` with `json()`", what);
}, { needs: ["systemd-socket-activate"] });

test("gpg signs with the key of an agent behind uds relay", async () => {
  await using dir = new UserDir();
  const [home, away] = [dir.file("home"), dir.file("away")];
  await output(["mkdir", "-m", "700", home, away]);
  const path = `${home}/S.gpg-agent`;
  // It continues in the background, and would end with its directory, too.
  const daemon = `gpg-agent --homedir ${home} --daemon >/dev/null 2>&1`;
  await output(["sh", "-c", daemon], { cwd: "/" });
  const gpg = (at: string, ...args: string[]) => {
    const batch = ["--batch", "--yes", "--no-autostart", "--trust-model", "always"];
    return output(["gpg", "--homedir", at, ...batch, ...args], { cwd: "/", env: { HOME: at } });
  };
  const user = "uds@example.org";
  const password = ["--passphrase", "", "--pinentry-mode", "loopback"];
  await gpg(home, ...password, "--quick-gen-key", user, "ed25519", "sign", "never");
  await gpg(home, "--output", dir.file("key"), "--export", user);
  // The other home has the public key only, and the relay is its agent.
  await using relay = await Relay.start(`${away}/S.gpg-agent`, path);
  await gpg(away, "--import", dir.file("key"));
  await output(["sh", "-c", `echo text > ${dir.file("text")}`]);
  await gpg(away, "--local-user", user, "--detach-sign", dir.file("text"));
  await gpg(home, "--verify", dir.file("text.sig"), dir.file("text"));
  await relay.end();
  const version = ["gpg-agent", "--version"];
  const forwarded = "a signature with a key that only the agent behind the relay has";
  await checked("gpg-agent, `gpg`", version, "`uds relay`", forwarded);

  await using session = messages(await connect(path), lines());
  assertEquals((await session.receive())?.slice(0, 3), "OK ");
  await session.send("GETINFO version");
  assertEquals(await session.receive(), `D ${(await output(version)).match(/[\d.]+/)?.[0]}`);
  assertEquals(await session.receive(), "OK");
  await session.send("KEYINFO --list");
  assertEquals((await session.receive())?.slice(0, 10), "S KEYINFO ");
  assertEquals(await session.receive(), "OK");
  await session.send("NONSENSE");
  assertEquals((await session.receive())?.slice(0, 4), "ERR ");
  await session.send("GETINFO pid");
  const pid = (await session.receive())?.slice("D ".length);
  assertEquals(await session.receive(), "OK");
  await session.send("KILLAGENT");
  assertEquals((await session.receive())?.slice(0, 2), "OK");
  assertEquals(await session.receive(), undefined);
  while (await exists(`/proc/${pid}/cwd`)) await turn();
  const what = "Assuan: the greeting, data, a status, an error, the end";
  await checked("gpg-agent", version, "`messages()` with `lines()`", what);
}, { needs: ["gpg-agent", "gpg"], deadline: 30_000 });
