import { type Child, isSocketError, json, lines, messages, pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { decode, encode, isPending, MIB, readAll, readText, TempDir } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { failureOf } from "./_streams.ts";

/** Starts a shell with a script. Its connection is descriptor 3. */
function shell(script: string, options: PairOptions = {}): Promise<Child> {
  return pair("sh", { ...options, args: ["-c", script] });
}

/** Starts `cat`, which echoes what its connection brings. */
function cat(options: PairOptions = {}): Promise<Child> {
  return pair("cat", { ...options, socket: "stdio" });
}

function textOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  return new Response(stream).text();
}

// Bytes -------------------------------------------------------------------------------------------

follows(
  "node: test-child-process-stdin",
  "a child echoes what was written, until its end of file",
  async () => {
    await using child = await cat({ stderr: "piped" });
    for (const text of ["hello", " ", "world"]) await child.conn.write(encode(text));
    await child.conn.closeWrite();
    assertEquals(decode(await readAll(child.conn)), "hello world");
    assertEquals(await textOf(child.stderr), "");
    assertEquals((await child.status).code, 0);
  },
);

follows(
  "node: test-child-process-stdio-big-write-end",
  "100 writes and the end, not awaited, all arrive",
  async () => {
    await using child = await shell("wc -c <&3 >&3");
    let sent = 0;
    for (let i = 1; i <= 100; i++) {
      child.conn.write(new Uint8Array(i * 512));
      sent += i * 512;
    }
    child.conn.closeWrite();
    assertEquals(Number(decode(await readAll(child.conn))), sent);
  },
);

follows(
  "node: test-child-process-stdout-flush",
  "500,000 bytes of a child's output are read whole",
  async () => {
    await using child = await shell("head -c 500000 /dev/zero", {
      stdout: "piped",
      stderr: "piped",
    });
    const [out, error] = await Promise.all([
      new Response(child.stdout).arrayBuffer(),
      textOf(child.stderr),
    ]);
    assertEquals([out.byteLength, error], [500_000, ""]);
    const { code, signal } = await child.status;
    assertEquals([code, signal], [0, null]);
  },
);

follows(
  "node: test-child-process-stdout-flush-exit",
  "the first and the last line before the exit arrive",
  async () => {
    const script = "echo hello; for i in $(seq 100); do echo filler; done; echo goodbye";
    await using child = await shell(`(${script}) >&3`);
    const text = decode(await readAll(child.conn)).split("\n");
    assertEquals([text.length, text[0], text[101]], [103, "hello", "goodbye"]);
  },
);

follows(
  "node: test-child-process-flush-stdio",
  "output that is read after the exit is still there",
  async () => {
    await using child = await shell("echo 123", { stdout: "piped" });
    assertEquals((await child.status).code, 0);
    assertEquals(await textOf(child.stdout), "123\n");
  },
);

follows(
  "node: test-child-process-send-utf8",
  "a message of 400,000 characters of two bytes arrives",
  async () => {
    await using child = await cat();
    const text = "ßßßß".repeat(100_000 - 1);
    const channel = messages<string>(child.conn, json(lines({ maxBytes: 2 * MIB })));
    const [, echoed] = await Promise.all([channel.send(text), channel.receive()]);
    assert(echoed === text);
  },
);

follows(
  "node: test-child-process-double-pipe",
  "the output of one child goes through two others",
  async () => {
    await using echo = await shell("printf 'hello\\nnode\\nand\\nworld\\n' >&3");
    await using grep = await pair("grep", { args: ["o"], socket: "stdio" });
    await using sed = await pair("sed", { args: ["s/o/O/"], socket: "stdio" });
    const piping = Promise.all([
      echo.conn.readable.pipeTo(grep.conn.writable),
      grep.conn.readable.pipeTo(sed.conn.writable),
    ]);
    assertEquals(await textOf(sed.conn.readable), "hellO\nnOde\nwOrld\n");
    await piping;
  },
);

follows(
  "node: test-child-process-pipe-dataflow",
  "1 MiB of lines flows through three children",
  async () => {
    await using first = await cat();
    await using grep = await pair("grep", { args: ["x"], socket: "stdio" });
    await using count = await pair("wc", { args: ["-c"], socket: "stdio" });
    const piping = Promise.all([
      first.conn.readable.pipeTo(grep.conn.writable),
      grep.conn.readable.pipeTo(count.conn.writable),
    ]);
    const row = encode(`${"x".repeat(1023)}\n`);
    for (let i = 0; i < 1024; i++) first.conn.write(row);
    await first.conn.closeWrite();
    assertEquals(Number(await textOf(count.conn.readable)), MIB);
    await piping;
  },
);

follows(
  "node: test-child-process-stdio-merge-stdouts-into-cat",
  "two children write to a third in turn",
  async () => {
    await using last = await cat();
    await using one = await cat();
    await using two = await cat();
    for (const [child, text] of [[one, "hello\n"], [two, "world\n"]] as const) {
      await child.conn.write(encode(text));
      await child.conn.closeWrite();
      await child.conn.readable.pipeTo(last.conn.writable, { preventClose: true });
      assertEquals(await readText(last.conn), text);
    }
    await last.conn.write(encode("foobar\n"));
    assertEquals(await readText(last.conn), "foobar\n");
  },
);

follows(
  "node: test-pipe-head",
  "a child that reads two lines and exits leaves the parent a BrokenPipe",
  async () => {
    await using child = await pair("head", { args: ["-n", "2"], socket: "stdio" });
    await child.conn.write(encode("1\n2\n3\n"));
    assertEquals(decode(await readAll(child.conn)), "1\n2\n");
    await child.status;
    const error = await failureOf(child.conn.write(encode("4\n")));
    assert(error instanceof Deno.errors.BrokenPipe, `${error}`);
  },
);

// The end of a child ------------------------------------------------------------------------------

for (const code of [0, 1, 23, 255]) {
  follows("node: test-child-process-exit-code", `status has the exit code ${code}`, async () => {
    await using child = await shell(`exit ${code}`);
    const status = await child.status;
    assertEquals([status.code, status.signal, status.success], [code, null, code === 0]);
  });
}

for (const signal of ["SIGTERM", "SIGKILL", "SIGQUIT", "SIGINT", "SIGHUP"] as const) {
  follows(
    "node: test-child-process-kill",
    `kill("${signal}") ends a child, and status names it`,
    async () => {
      await using child = await cat();
      child.kill(signal);
      assertEquals((await child.status).signal, signal);
      assertEquals(await readText(child.conn), null);
    },
  );
}

follows(
  "node: test-child-process-destroy",
  "disposal ends a child, and its connection",
  async () => {
    const child = await cat();
    await child[Symbol.asyncDispose]();
    const { code, signal } = await child.status;
    // `cat` ends by itself at the end of file, before the signal.
    assert(code === 0 || signal === "SIGTERM");
    await child.conn.closed;
  },
);

follows(
  "node: test-child-process-fork-close",
  "the last message, then the end of file, then the exit",
  async () => {
    await using child = await shell("printf hello >&3; exit 7");
    assertEquals([await readText(child.conn), await readText(child.conn)], ["hello", null]);
    assertEquals((await child.status).code, 7);
  },
);

follows(
  "node: test-child-process-disconnect",
  "close() of the connection is the end of file for the child, which lives on",
  async () => {
    await using child = await shell("echo ready; cat <&3; exec 3<&-; echo over; read x", {
      stdin: "piped",
      stdout: "piped",
    });
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assertEquals((await output.read()).value, "ready\n");
    child.conn.close();
    assertEquals((await output.read()).value, "over\n");
    assert(await isPending(child.status));
    await child.stdin.close();
    await child.status;
    await output.cancel();
  },
);

follows(
  "node: test-child-process-fork-ref",
  "a child works on after one message, and ends at the end of file",
  async () => {
    await using child = await shell("printf 1 >&3; read x <&3; printf 2 >&3; cat <&3; printf 3", {
      stdout: "piped",
    });
    assertEquals(await readText(child.conn), "1");
    await child.conn.write(encode("go\n"));
    assertEquals(await readText(child.conn), "2");
    await child.conn.closeWrite();
    assertEquals([await textOf(child.stdout), (await child.status).code], ["3", 0]);
  },
);

// Starting ----------------------------------------------------------------------------------------

follows(
  "node: test-child-process-spawn-error",
  "a program that does not exist rejects with its name",
  async () => {
    const error = await failureOf(pair("uds-no-such-program", { args: ["bar"] }));
    assert(error instanceof Deno.errors.NotFound && isSocketError(error));
    // It is a program, not the path of a socket.
    assertEquals([error.code, error.path, error.operation], ["ENOENT", null, "pair"]);
    assert(error.message.includes('"uds-no-such-program"'), error.message);
  },
);

for (const when of ["before", "after"]) {
  follows(
    "node: test-child-process-spawn-controller",
    `an abort ${when} the start ends with the reason, or with SIGTERM`,
    async () => {
      const control = new AbortController();
      const reason = new Error("boom");
      if (when === "before") {
        control.abort(reason);
        assertStrictEquals(await failureOf(cat({ signal: control.signal })), reason);
        return;
      }
      await using child = await shell("exec sleep 60", { signal: control.signal });
      control.abort(reason);
      assertEquals((await child.status).signal, "SIGTERM");
    },
  );
}

const NULLS: Record<string, () => Promise<Child>> = {
  "the program": () => pair("BBB\0XXX"),
  "an argument": () => pair("cat", { args: ["BBB\0XXX"] }),
  cwd: () => pair("cat", { cwd: "BBB\0XXX" }),
  "a variable's name": () => pair("cat", { env: { "BBB\0XXX": "C" } }),
  "a variable": () => pair("cat", { env: { BBB: "X\0XX" } }),
};

for (const [where, start] of Object.entries(NULLS)) {
  follows(
    "node: test-child-process-reject-null-bytes",
    `a null byte in ${where} is a TypeError`,
    async () => {
      await assertRejects(start, TypeError);
    },
  );
}

const BAD: Record<string, unknown[]> = {
  "no arguments": [],
  "an empty program": [""],
  "a program that is an object": [{ toString: () => "cat" }],
  "arguments that are a text": ["cat", { args: "-u" }],
  "an argument that is a number": ["cat", { args: [1] }],
  "options that are null": ["cat", null],
  "options that are a number": ["cat", 1],
  "stdout that does not exist": ["cat", { stdout: "foo" }],
  "env that is a text": ["cat", { env: "foo" }],
  "a variable that is undefined": ["cat", { env: { UNDEFINED: undefined } }],
  "a variable that is null": ["cat", { env: { NULL: null } }],
};

for (const [what, args] of Object.entries(BAD)) {
  follows(
    "node: test-child-process-spawn-typeerror",
    `pair() refuses ${what} with a TypeError`,
    async () => {
      await assertRejects(
        () => (pair as (...args: unknown[]) => Promise<Child>)(...args),
        TypeError,
      );
    },
  );
}

follows(
  "node: test-child-process-cwd",
  "a child starts in cwd, and a cwd that is missing rejects",
  async () => {
    await using dir = new TempDir();
    const cwd = await Deno.realPath(dir.path);
    for (const where of [cwd, new URL(`file://${cwd}/`)]) {
      await using child = await shell("pwd >&3", { cwd: where });
      assertEquals((await readText(child.conn))?.trim(), cwd);
    }
    await assertRejects(() => cat({ cwd: dir.file("missing") }), Deno.errors.NotFound);
    await assertRejects(() => cat({ cwd: new URL("http://example.com/") }), TypeError);
  },
);

follows(
  "node: test-child-process-env",
  "a child gets the variables of env, also empty ones",
  async () => {
    const env = { HELLO: "WORLD", EMPTY: "", duplicate: "lower", DUPLICATE: "upper" };
    await using child = await pair("env", { env, clearEnv: true, stdout: "piped" });
    const list = (await textOf(child.stdout)).split("\n");
    for (const [name, value] of Object.entries(env)) {
      assert(
        list.includes(`${name}=${value}`),
        name,
      );
    }
  },
);

for (const stream of ["stdout", "stderr"] as const) {
  follows(
    "node: test-child-process-stdio",
    `${stream} that is ignored is not there, and options stay as they are`,
    async () => {
      const options: PairOptions = { [stream]: "null" };
      await using child = await shell("echo lost; echo lost >&2", {
        stdout: "null",
        stderr: "null",
        ...options,
      });
      assert(await failureOf((async () => await textOf(child[stream]))()) instanceof TypeError);
      assertEquals(options, { [stream]: "null" });
      assertEquals((await child.status).code, 0);
    },
  );
}
