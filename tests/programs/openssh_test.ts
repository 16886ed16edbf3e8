import { connect, lengthPrefixed, messages, pair, serve } from "@uds/uds";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Process } from "../_cli.ts";
import { decode, encode, type Program, pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";
import { sshd } from "../_sshd.ts";
import { asUser, checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

const VERSION = ["ssh", "-V"];

/** Starts an agent at "agent.sock", and makes a key that is called "key". */
async function startAgent(dir: UserDir): Promise<Program> {
  const path = dir.file("agent.sock");
  const agent = await start(["ssh-agent", "-D", "-a", path], path);
  const key = dir.file("key");
  await output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "key", "-f", key]);
  return agent;
}

for (const way of ["relay", "tap"]) {
  test(`ssh-add and ssh-keygen use an agent of OpenSSH through uds ${way}`, async () => {
    await using dir = new UserDir();
    await using agent = await startAgent(dir);
    const [path, relayed] = [dir.file("agent.sock"), dir.file("relayed.sock")];
    const options = way === "tap" ? ["--framing", "u32be", "--hex"] : [];
    await using relay = await Relay.run(way, ...options, relayed, path);
    const env = { SSH_AUTH_SOCK: relayed };
    const ssh = (...command: string[]) => output(command, { env });
    await ssh("ssh-add", "-q", dir.file("key"));
    assertStringIncludes(await ssh("ssh-add", "-L"), " key\n");
    // The agent alone has the private key.
    await output(["rm", dir.file("key")]);
    const signer = `signer ${await Deno.readTextFile(dir.file("key.pub"))}`;
    await Deno.writeTextFile(dir.file("signers"), signer);
    await output(["sh", "-c", `head -c 1000000 /dev/urandom > ${dir.file("data")}`]);
    const sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", dir.file("key.pub")];
    for (let i = 0; i < 5; i++) {
      await ssh(...sign, dir.file("data"));
      const check = `ssh-keygen -Y verify -f ${dir.file("signers")} -I signer -n file ` +
        `-s ${dir.file("data.sig")} < ${dir.file("data")}`;
      assertStringIncludes(await output(["sh", "-c", check]), 'Good "file" signature for signer');
      await output(["rm", dir.file("data.sig")]);
    }
    await ssh("ssh-add", "-q", "-D");
    const printed = await relay.end();
    if (way === "tap") {
      const requests = printed.trimEnd().split("\n").map((line) => JSON.parse(line))
        .filter(({ event, direction }) => event === "data" && direction === "to-target");
      // SSH_AGENTC_SIGN_REQUEST
      assertEquals(requests.filter(({ hex }) => hex.startsWith("0d")).length, 5);
    }
    await stop(agent);
    const what = "a key added, listed, used for 5 signatures that are verified, and removed";
    await checked("OpenSSH, `ssh-agent`", VERSION, `\`uds ${way}\``, what);
  }, { needs: ["ssh-agent", "ssh-add", "ssh-keygen"], deadline: 30_000 });
}

test("messages() and lengthPrefixed() use an agent of OpenSSH", async () => {
  await using dir = new UserDir();
  await using agent = await startAgent(dir);
  const path = dir.file("agent.sock");
  await output(["ssh-add", "-q", dir.file("key")], { env: { SSH_AUTH_SOCK: path } });
  await using session = messages(await connect(path), lengthPrefixed());
  for (let i = 0; i < 1000; i++) await session.send(new Uint8Array([11]));
  for (let i = 0; i < 1000; i++) {
    const answer = (await session.receive())!;
    // SSH_AGENT_IDENTITIES_ANSWER, and one key.
    assertEquals([...answer.subarray(0, 5)], [12, 0, 0, 0, 1]);
    assert(decode(answer).includes("ssh-ed25519"));
  }
  // A request that does not exist fails.
  await session.send(new Uint8Array([255]));
  assertEquals([...(await session.receive())!], [5]);
  await stop(agent);
  const what = "1,000 requests for the keys in a pipeline, a failure";
  await checked("OpenSSH, `ssh-agent`", VERSION, "`messages()` with `lengthPrefixed()`", what);
}, { needs: ["ssh-agent", "ssh-add", "ssh-keygen"], deadline: 30_000 });

test("ssh forwards an agent that is behind uds relay", async () => {
  await using dir = new UserDir();
  await using agent = await startAgent(dir);
  const [path, relayed] = [dir.file("agent.sock"), dir.file("relayed.sock")];
  await output(["ssh-add", "-q", dir.file("key")], { env: { SSH_AUTH_SOCK: path } });
  await using relay = await Relay.start(relayed, path);
  await using far = new TempDir();
  const args = (await sshd(far)).filter((arg) => !/^-F$|^none$/.test(arg));
  const remote = "ssh-add -L && ssh-add -L";
  const env = { SSH_AUTH_SOCK: relayed };
  const asked = ["ssh", "-F", "none", ...args, "-A", "localhost", remote];
  await using ssh = new Process(asked, { env });
  const { code, stdout, stderr } = await ssh.ended;
  assertEquals(code, 0, stderr);
  assertEquals(decode(stdout).match(/ key$/gm)?.length, 2);
  await relay.end();
  await stop(agent);
  const what = "the keys listed twice in a session with `-A`";
  await checked("OpenSSH, `ssh`", VERSION, "`uds relay`", what);
}, { needs: ["ssh-agent", "ssh-add", "ssh-keygen", "ssh", "sshd"], deadline: 30_000 });

/** Sends 1 MB to a path that sends everything back, and compares. */
async function echoed(path: string, seed: number): Promise<void> {
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  const data = pseudoRandom(1_000_000, seed);
  const sent = conn.write(data).then(() => conn.closeWrite());
  assertEquals(await readAll(conn), data);
  await sent;
}

for (const direction of ["-L", "-R"]) {
  test(`ssh ${direction} forwards a path to serve()`, async () => {
    await using dir = new TempDir();
    const [near, path] = [dir.file("near.sock"), dir.file("far.sock")];
    await using _server = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
    const options = ["-N", "-o", "ExitOnForwardFailure=yes", direction, `${near}:${path}`];
    await using ssh = new Process(["ssh", ...await sshd(dir), ...options, "localhost"]);
    await Promise.all(Array.from({ length: 10 }, (_, i) => echoed(near, i + 1)));
    ssh.kill("SIGTERM");
    await ssh.ended;
    const what = `10 MB there and back over 10 connections at once of \`ssh ${direction}\``;
    await checked("OpenSSH, `ssh`", VERSION, "`serve()`, `connect()`", what);
  }, { needs: ["ssh", "sshd", "ssh-keygen"], deadline: 30_000 });
}

const SFTP = "/usr/lib/openssh/sftp-server";
/** Types of its packets: requests, then answers. */
const [INIT, OPEN, CLOSE, READ, WRITE] = [1, 3, 4, 5, 6] as const;
const [VERSION_IS, STATUS, HANDLE, DATA] = [2, 101, 102, 103] as const;
/** Flags to open a file: to read, to write, to create. */
const [FOR_READING, FOR_WRITING] = [1, 2 | 8];
const PIECE_BYTES = 32_768;

/** Returns a packet. A number has four bytes, a bigint eight. Bytes follow their length. */
function packet(type: number, ...fields: (number | bigint | Uint8Array)[]): Uint8Array {
  const words = (field: number | bigint) =>
    typeof field === "number" ? [field] : [Number(field >> 32n), Number(field & 0xffffffffn)];
  const bytes = (field: number | bigint | Uint8Array): number[] => {
    if (field instanceof Uint8Array) return [...bytes(field.length), ...field];
    return words(field).flatMap((
      word,
    ) => [word >>> 24, word >> 16 & 255, word >> 8 & 255, word & 255]);
  };
  return new Uint8Array([type, ...fields.flatMap(bytes)]);
}

test("pair() runs sftp-server, which stores 1 MB and returns it", async () => {
  await using dir = new UserDir();
  const [program = "", ...args] = asUser(SFTP);
  await using child = await pair(program, { args, socket: "stdio", stderr: "null" });
  await using session = messages(child.conn, lengthPrefixed());
  await session.send(packet(INIT, 3));
  const [type, ...version] = (await session.receive())!;
  assertEquals([type, ...version.slice(0, 4)], [VERSION_IS, 0, 0, 0, 3]);
  let sent = 0;
  const request = (type: number, ...fields: (number | bigint | Uint8Array)[]) =>
    session.send(packet(type, ++sent, ...fields));
  /** Receives the answer to one request after another. Returns what follows its number. */
  let answered = 0;
  const answer = async (type: number) => {
    const received = (await session.receive())!;
    const { buffer, byteOffset } = received;
    assertEquals([received[0], new DataView(buffer, byteOffset).getUint32(1)], [type, ++answered]);
    return received.subarray(5);
  };
  const open = async (flags: number) => {
    await request(OPEN, encode(dir.file("stored")), flags, 0);
    return (await answer(HANDLE)).slice(4);
  };
  const data = pseudoRandom(1_000_000, 4);
  const pieces = Math.ceil(data.length / PIECE_BYTES);
  const written = await open(FOR_WRITING);
  for (let at = 0; at < data.length; at += PIECE_BYTES) {
    await request(WRITE, written, BigInt(at), data.subarray(at, at + PIECE_BYTES));
  }
  await request(CLOSE, written);
  for (let i = 0; i <= pieces; i++) {
    assertEquals([...await answer(STATUS)].slice(0, 4), [0, 0, 0, 0]);
  }
  assertEquals(await Deno.readFile(dir.file("stored")), data);
  const read = await open(FOR_READING);
  for (let i = 0; i < pieces; i++) await request(READ, read, BigInt(i * PIECE_BYTES), PIECE_BYTES);
  const parts = [];
  for (let i = 0; i < pieces; i++) parts.push((await answer(DATA)).slice(4));
  assertEquals(await new Blob(parts).bytes(), data);
  await session.closeWrite();
  assertEquals(await session.receive(), undefined);
  assertEquals((await child.status).code, 0);
  const what = "1 MB stored, read back and compared, with all requests in a pipeline";
  const way = '`pair()` with `socket: "stdio"`, `messages()`';
  await checked("OpenSSH, `sftp-server`", VERSION, way, what);
}, { needs: ["ssh"] });
