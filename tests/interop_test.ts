import { connect, type Connection, listen } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import { pseudoRandom, readAll, ROOT, run, TempDir, test } from "./_helpers.ts";

/** Who ends its direction first. */
type First = "us" | "the peer";

/** A program that passes its standard input to a socket, and what comes from it to its output. */
interface Peer {
  /** What must be installed. */
  needs: string[];
  /** Whether, as a server, it ends with its client's direction, whatever it still has to send. */
  endsWithClient?: boolean;
  /** How it is called. */
  command(
    role: "connect" | "listen",
    first: First,
    path: string,
    dir: TempDir,
  ): string[] | Promise<string[]>;
}

/** A peer of `tests/fixtures`. */
function script(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/** The order of a peer that does one thing after the other; the rest do both at once. */
function order(first: First): string {
  return first === "us" ? "receive-first" : "send-first";
}

const peers: Record<string, Peer> = {
  "nc -U": {
    needs: ["nc"],
    endsWithClient: true,
    command: (role, _, path) => ["nc", role === "listen" ? "-lNU" : "-NU", path],
  },
  "socat": {
    needs: ["socat"],
    command: (role, _, path) => [
      "socat",
      // How long one direction goes on when the other has ended.
      "-t10",
      "-",
      `${role === "listen" ? "UNIX-LISTEN" : "UNIX-CONNECT"}:${path}`,
    ],
  },
  "Python": {
    needs: ["python3"],
    command: (role, first, path) => ["python3", script("peer_pipe.py"), role, order(first), path],
  },
  "Node": {
    needs: ["node"],
    command: (role, first, path) => ["node", script("peer_pipe.mjs"), role, order(first), path],
  },
  "C": {
    needs: ["gcc"],
    command: async (role, first, path, dir) => {
      const program = dir.file("peer");
      const { code, stderr } = await run("gcc", ["-Wall", "-o", program, script("peer_pipe.c")]);
      assertEquals([code, stderr], [0, ""]);
      return [program, role, order(first), path];
    },
  },
};

/** Every value of a byte, and then a mebibyte of them in no order. */
function sample(seed: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(256 + 1024 * 1024);
  for (let i = 0; i < 256; i++) data[i] = i;
  data.set(pseudoRandom(1024 * 1024, seed), 256);
  return data;
}

/** Fails without a listing of a million bytes where they differ. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** A running peer with all of its input; it is killed, by its own pid, if it outlives the test. */
class RunningPeer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #fed: Promise<void>;
  readonly #output: Promise<Deno.CommandOutput>;
  #ended = false;

  constructor([command, ...args]: string[], input: Uint8Array<ArrayBuffer>) {
    this.#child = new Deno.Command(command!, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#output = this.#child.output().finally(() => this.#ended = true);
    // One that ends early has said why.
    this.#fed = new Blob([input]).stream().pipeTo(this.#child.stdin).catch(() => {});
  }

  /** What it printed, when it has ended well. */
  async output(): Promise<Uint8Array> {
    const { code, stdout, stderr } = await this.#output;
    assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#child.kill("SIGKILL");
    await this.#output;
    await this.#fed;
  }
}

/** Sends and receives, one after the other: the second happens after an end of file. */
async function exchange(
  conn: Connection,
  first: First,
  data: Uint8Array,
): Promise<Uint8Array> {
  if (first === "the peer") {
    const received = await readAll(conn);
    await conn.write(data);
    await conn.closeWrite();
    return received;
  }
  await conn.write(data);
  await conn.closeWrite();
  return await readAll(conn);
}

const OURS = sample(1);
const THEIRS = sample(2);

for (const [name, { needs, command, endsWithClient = false }] of Object.entries(peers)) {
  for (const first of ["us", "the peer"] as const) {
    test(
      `listen() serves ${name}, byte for byte, where the end of ${first} comes first`,
      async () => {
        await using dir = new TempDir();
        const path = dir.file("i.sock");
        await using listener = await listen(path);
        await using peer = new RunningPeer(await command("connect", first, path, dir), THEIRS);
        await using conn = await listener.accept();
        assertSameBytes(await exchange(conn, first, OURS), THEIRS);
        assertSameBytes(await peer.output(), OURS);
        await conn.closed;
      },
      { needs },
    );

    if (first === "us" && endsWithClient) continue;
    test(
      `connect() talks to ${name}, byte for byte, where the end of ${first} comes first`,
      async () => {
        await using dir = new TempDir();
        const path = dir.file("i.sock");
        await using peer = new RunningPeer(await command("listen", first, path, dir), THEIRS);
        await using conn = await connect({ path, wait: true });
        assertSameBytes(await exchange(conn, first, OURS), THEIRS);
        assertSameBytes(await peer.output(), OURS);
        await conn.closed;
      },
      { needs },
    );
  }
}

test("connect() sends to nc -lU byte for byte, which ends with our end of file", async () => {
  await using dir = new TempDir();
  const path = dir.file("i.sock");
  await using peer = new RunningPeer(["nc", "-lU", path], new Uint8Array(0));
  await using conn = await connect({ path, wait: true });
  assertEquals((await exchange(conn, "us", OURS)).length, 0);
  assertSameBytes(await peer.output(), OURS);
  await conn.closed;
}, { needs: ["nc"] });
