import { connect } from "@uds/uds";
import { listenFds } from "@uds/uds/systemd";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  COVERAGE,
  decode,
  denoArgs,
  encode,
  Program,
  readAll,
  TempDir,
  test,
} from "../_helpers.ts";

const FLAGS = ["--allow-env=LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES"];

/** Starts a program of `tests/fixtures` under the real program, at the first client. */
function activated(options: string[], script: string, flags: string[]): Program {
  const passed = ["PATH", "HOME", "DENO_DIR", ...Object.keys(COVERAGE)].flatMap((
    name,
  ) => ["-E", name]);
  const program = [Deno.execPath(), ...denoArgs(script, flags)];
  return new Program("systemd-socket-activate", [...options, ...passed, ...program], {
    env: COVERAGE,
  });
}

/** Sends a text, and returns the answer. The socket is there soon. */
async function ask(path: string, text: string): Promise<string> {
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode(text));
  return decode(await readAll(conn));
}

const NEEDS = { needs: ["systemd-socket-activate"] };

test(
  "listenFds() has the sockets of systemd-socket-activate, and no child has its variables",
  async () => {
    await using dir = new TempDir();
    const [first, second] = [dir.file("first.sock"), dir.file("second.sock")];
    const options = ["-l", first, "-l", second, "--fdname=alpha:beta"];
    await using service = activated(options, "systemd_service.ts", [...FLAGS, "--allow-run=env"]);
    assertEquals(await ask(first, "one"), "alpha: one");
    assertEquals(await ask(second, "two"), "beta: two");
    assertEquals(await ask(first, "three"), "alpha: three");
    const given = [{ fd: 3, name: "alpha" }, { fd: 4, name: "beta" }];
    assertEquals(JSON.parse(await service.line()), { given, again: given, inChild: [] });
    service.kill("SIGTERM");
    await service.status;
    assertEquals(dir.list(), ["first.sock", "second.sock"]);
  },
  NEEDS,
);

test("listenFds() has the connection of a service with Accept=yes", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _manager = activated(["-l", path, "-a"], "systemd_instance.ts", FLAGS);
  const answers = await Promise.all(["one", "two"].map((text) => ask(path, text)));
  // systemd-socket-activate names it by the index, systemd "connection".
  for (const [i, answer] of answers.entries()) {
    assertStringIncludes(answer, i === 0 ? ": one" : ": two");
  }
}, NEEDS);

/** Sets variables of a manager for a call. */
function given(variables: Record<string, string>, call: () => void): void {
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    call();
  } finally {
    for (const name of Object.keys(variables)) Deno.env.delete(name);
  }
}

test("listenFds() is empty without a manager, and if the sockets are another process's", () => {
  assertEquals(listenFds(), []);
  given({ LISTEN_PID: `${Deno.ppid}`, LISTEN_FDS: "1" }, () => {
    assertEquals(listenFds(), []);
    // They may be meant for a child.
    assertEquals(Deno.env.get("LISTEN_FDS"), "1");
  });
});

test("listenFds() refuses variables that no manager would set", () => {
  const LISTEN_PID = `${Deno.pid}`;
  for (
    const [variables, state] of [
      [{ LISTEN_FDS: "1", LISTEN_FDNAMES: "a:b" }, "LISTEN_FDNAMES has 2 names for 1 descriptors"],
      [{ LISTEN_FDS: "one" }, 'LISTEN_FDS must be a whole number up to 1048576, and is "one"'],
      [
        { LISTEN_FDS: "99999999999" },
        'LISTEN_FDS must be a whole number up to 1048576, and is "99999999999"',
      ],
    ] as const
  ) {
    given({ ...variables, LISTEN_PID }, () => {
      const message = `Cannot take the descriptors of the manager: the variable ${state}`;
      assertThrows(() => listenFds(), Deno.errors.InvalidData, message);
    });
  }
});

test("listenFds() without the permission for its variables names the flag", () => {
  assertThrows(
    () => listenFds(),
    Deno.errors.NotCapable,
    "Cannot take the descriptors of the manager: a Deno permission is missing. Run again with " +
      "--allow-env=LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES",
  );
}, { permissions: { env: false } });
