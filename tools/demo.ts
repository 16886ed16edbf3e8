/**
 * The demo: an echo server and a client in separate processes, the socket's mode and
 * owner, a second server and a second user that are refused, a start after a crash, and a child
 * process on a socket pair. It leaves no file and no process behind.
 */

import { fromFileUrl, join } from "@std/path/posix";
import { permissionFlags, permissions } from "../permissions.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));
const NOBODY = 65534;
const MESSAGE = "This is the message. It will be repeated.";

const bold = (text: string) => Deno.stdout.isTerminal() ? `\x1b[1m${text}\x1b[0m` : text;

let steps = 0;

/** Announces the next step, and what to look for. */
function step(title: string, what: string): void {
  console.log(`${steps++ === 0 ? "" : "\n"}${bold(`${steps}. ${title}`)}\n   ${what}\n`);
}

/** Starts a Deno program of this project, and shows its output line by line under its name. */
function start(name: string, script: string, args: string[], flags: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...flags, join(ROOT, script), ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  let seen = () => {};
  const show = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    let rest = "";
    const say = (line: string) => {
      lines.push(line);
      console.log(`  ${name.padEnd(8)}| ${line}`);
      seen();
    };
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      parts.forEach(say);
    }
    if (rest !== "") say(rest);
  };
  const shown = Promise.all([show(child.stdout), show(child.stderr)]);
  return {
    child,
    lines,
    /** Resolves when it has printed its first line, or ended. */
    ready: new Promise<void>((resolve) => {
      seen = resolve;
      shown.then(() => resolve());
    }),
    /** Resolves when it has ended and everything is shown. */
    async ended() {
      const [{ code }] = await Promise.all([child.status, shown]);
      return { code, lines };
    },
  };
}

/** Returns the line of `ls -l` for a file. */
function listing(path: string): string {
  const { mode, uid, gid, isSocket } = Deno.lstatSync(path);
  const bits = [8, 7, 6, 5, 4, 3, 2, 1, 0]
    .map((bit, i) => ((mode ?? 0) >> bit & 1) ? "rwx"[i % 3] : "-")
    .join("");
  return `${isSocket ? "s" : "?"}${bits} ${nameOf(uid, "passwd")} ${nameOf(gid, "group")} ${path}`;
}

/** The name of a user or a group, else its number. */
function nameOf(id: number | null, file: "passwd" | "group"): string {
  const entry = Deno.readTextFileSync(`/etc/${file}`).split("\n").map((line) => line.split(":"))
    .find((fields) => fields[2] === String(id));
  return entry?.[0] ?? String(id);
}

/** Throws unless the demo shows what it announces. */
function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`The demo failed: ${what}`);
}

/** Connects as the user `nobody`, in a separate process: this file again, with an argument. */
async function connectAsNobody(path: string): Promise<void> {
  const { default: process } = await import("node:process");
  const { connect } = await import("../client.ts");
  process.setgroups?.([]);
  process.setgid?.(NOBODY);
  process.setuid?.(NOBODY);
  try {
    await using _conn = await connect(path);
    console.log("connected");
  } catch (error) {
    console.log(String(error));
    Deno.exit(6);
  }
}

async function main(): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "uds-demo-" });
  // The directory is open, so that the socket's mode alone restricts access.
  await Deno.chmod(directory, 0o755);
  const path = join(directory, "echo.sock");
  // With the directories, so that the server may set the mode.
  const serverFlags = permissionFlags(permissions("serve", path, { mode: 0o600 }));
  const clientFlags = permissionFlags(permissions("connect", path));
  const serve = async (name: string) => {
    const server = start(name, "cli.ts", ["echo", path, "--piece", "16"], serverFlags);
    await server.ready;
    return server;
  };
  let server;
  try {
    step("An echo server", "A separate process, which sends back everything that it receives.");
    server = await serve("server");
    expect(server.lines[0]?.startsWith("listening") === true, "the server did not start");
    console.log(`  ls -l   | ${listing(path)}`);

    step(
      "A client",
      "Another process sends a message in pieces of 16 bytes, and receives it back.",
    );
    const client = start(
      "client",
      "cli.ts",
      ["send", path, MESSAGE, "--piece", "16"],
      clientFlags,
    );
    const { code, lines } = await client.ended();
    expect(code === 0 && lines.includes(MESSAGE), "the message did not come back");

    step(
      "A second server",
      "It asks for the same path, which already has an owner. It is refused.",
    );
    const { code: taken } = await (await serve("second")).ended();
    expect(taken === 5, "the second server was not refused");

    step("A second user", "The socket has mode 0600, so the system admits only its owner.");
    if (Deno.uid() === 0) {
      const script = "tools/demo.ts";
      const other = start("nobody", script, ["--as-nobody", path], [
        "--allow-sys",
        ...clientFlags,
      ]);
      const { code } = await other.ended();
      expect(code === 6, "the other user was not refused");
    } else {
      console.log("  Only root can become another user: run the demo as root to see this part.");
    }

    step(
      "A crash",
      "kill -9 leaves the socket file behind. The next start finds it stale, and replaces it.",
    );
    server.child.kill("SIGKILL");
    await server.ended();
    console.log(`  ls -l   | ${listing(path)}`);
    server = await serve("next");
    expect(server.lines[0]?.startsWith("listening") === true, "it did not start after the crash");

    step(
      "A parent and its child",
      "They exchange messages over a socket without a path. No other process can reach it.",
    );
    const family = start("pair", "examples/socketpair.ts", [], [
      "--allow-run",
      "--allow-env",
      "--allow-read",
    ]);
    const pong = await family.ended();
    expect(
      pong.code === 0 && pong.lines.includes("response from child: pong"),
      "parent and child exchanged no message",
    );

    step("The end", "The server gets SIGTERM.");
    server.child.kill("SIGTERM");
    const { code: end } = await server.ended();
    server = undefined;
    const left = [...Deno.readDirSync(directory)].map((entry) => entry.name);
    expect(end === 0 && left.length === 0, `the server left ${left.join(", ")} behind`);
    console.log(`  ls -A   | nothing: the socket and its lock are gone`);
  } finally {
    server?.child.kill("SIGKILL");
    await server?.child.status;
    await Deno.remove(directory, { recursive: true });
  }
}

if (Deno.args[0] === "--as-nobody") await connectAsNobody(Deno.args[1] as string);
else await main();
