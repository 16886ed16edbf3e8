import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  claim,
  connect,
  inherited,
  lines,
  listen,
  messages,
  pair,
  probe,
  relay,
  serve,
  socketpair,
} from "@uds/uds";
import { fixture, ROOT, TempDir, test } from "../_helpers.ts";

/** Calls that fail, because of an argument or of the system. */
const CALLS: Record<string, (path: string) => unknown> = {
  "connect(3)": () => connect(3 as unknown as string),
  "connect() to nothing": (path) => connect(path),
  "connect() that times out": (path) => connect({ path, wait: true, timeout: 10 }),
  "serve() without a handler": (path) => serve(path, undefined as never),
  "serve() nowhere": (path) => serve(`${path}/s`, async () => {}),
  "listen() nowhere": (path) => listen(`${path}/s`),
  "listen() with an option that there is not": (path) => listen({ path, x: 1 } as never),
  "claim() nowhere": (path) => claim(`${path}/s`),
  "probe() of an empty path": () => probe(""),
  "relay() of nothing": () => relay(undefined as never, undefined as never),
  "pair() of no program": () => pair("/no/such"),
  "pair() of an empty command": () => pair(""),
  "inherited() of no descriptor": () => inherited({ fd: 12345 }),
  "socketpair() of another type": () => socketpair({ type: "dgram" as "stream" }),
  "messages() of nothing": () => messages(undefined as never, lines()),
};

// Deno loads it at its first use, and runs microtasks meanwhile: their stacks begin there.
void setTimeout;

for (const [what, call] of Object.entries(CALLS)) {
  test(`${what} throws an error with a stack that begins at its caller`, async () => {
    await using dir = new TempDir();
    let thrown: unknown;
    try {
      await call(dir.file("none"));
    } catch (error) {
      thrown = error;
    }
    assert(thrown instanceof Error);
    const frames = thrown.stack!.split("\n").filter((line) => /^ {4}at /.test(line));
    assert(frames.some((frame) => frame.includes("/caller_stack_test.ts:")), thrown.stack);
    const own = frames.filter((frame) => frame.includes(ROOT) && !frame.includes("/tests/"));
    assertEquals(own, []);
  });
}

test("an error of connect() that nothing catches shows the line that called it", async () => {
  await using dir = new TempDir();
  await using program = fixture("uncaught.ts", ["-RWN"], [dir.file("none")], {
    env: { NO_COLOR: "1" },
  });
  await program.status;
  const [message, line] = (await program.stderr()).split("\n");
  assert(message!.endsWith("there is no such file. Start the server first"), message);
  assertEquals(line, "  await connect(path);");
});

for (const how of ["pipeTo()", "Response.text()", "pipeThrough()", "receive()", "read()"]) {
  test(`an error of ${how} that nothing awaits shows no line of this package`, async () => {
    await using dir = new TempDir();
    await using program = fixture("not_awaited.ts", ["-RWN"], [dir.file("s.sock"), how], {
      env: { NO_COLOR: "1" },
    });
    const { code } = await program.status;
    const stderr = await program.stderr();
    assertEquals(code, 1);
    assertStringIncludes(stderr, "Uncaught (in promise) ConnectionReset: Cannot re");
    // The cause is Deno's.
    const [shown] = stderr.split("Caused by:");
    assertEquals(shown!.split("\n").filter((line) => line.includes("/_internal/")), []);
  });
}

for (const way of ["array", "throws", "read-only", "no limit to set"]) {
  test(`errors stay what they are if the program makes its own stacks: ${way}`, async () => {
    await using dir = new TempDir();
    await using program = fixture("own_stacks.ts", ["-RWN"], [dir.file("none"), way]);
    assertEquals(await program.output(), ["RangeError", "SocketNotFound", "TypeError", "true"]);
  });
}
