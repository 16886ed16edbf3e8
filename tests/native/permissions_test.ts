import { permissionFlags } from "@uds/uds";
import { nativePermissions } from "@uds/uds/native";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { denoArgs, encode, Program, run, TempDir, test, within } from "../_helpers.ts";

const LIBC = nativePermissions().ffi[0];
const FLAG = permissionFlags(nativePermissions()).join();
const START = 'Cannot set the backlog of "/run/uds-absent.sock": ';
const FIELDS = { operation: "setBacklog", path: "/run/uds-absent.sock" };
const USED = {
  class: "NotFound",
  message: `${START}this process does not listen there. Call serve() or listen() first`,
  ...FIELDS,
};
const REFUSED = {
  class: "NotCapable",
  message: `${START}a Deno permission is missing. Run again with ${FLAG}`,
  ...FIELDS,
};

/** Calls libc in another process, with some flags. Returns the error. */
async function use(flags: string[], ...args: string[]): Promise<Record<string, string>> {
  await using program = new Program(Deno.execPath(), denoArgs("native_use.ts", flags, args));
  return JSON.parse(await program.line());
}

/** The same in a terminal of its own, where Deno would ask. */
async function useInTerminal(flags: string[]): Promise<Record<string, string>> {
  await using script = terminal(flags);
  // A question has no line end.
  return JSON.parse(await within(20_000, script.line()));
}

/** Starts the program in a terminal. */
function terminal(flags: string[], ...use: string[]): Program {
  const args = denoArgs("native_use.ts", flags, use).filter((arg) => arg !== "--no-prompt");
  const command = [Deno.execPath(), ...args].map((arg) => `'${arg}'`).join(" ");
  return new Program("script", ["-qec", command, "/dev/null"], {
    stdin: "piped",
    env: { NO_COLOR: "1", TERM: "dumb", SHELL: "/bin/sh" },
  });
}

test("a permission that is granted after a refusal is used", async () => {
  await using script = terminal([], "later");
  let line = await script.line();
  while (!line.includes("Run again with --allow-ffi")) line = await script.line();
  const writer = script.stdin.getWriter();
  // Deno drops what was typed before it reads the answer.
  const typing = setInterval(() => writer.write(encode("y\n")).catch(() => {}), 100);
  while (!line.startsWith("[")) line = await script.line();
  clearInterval(typing);
  writer.releaseLock();
  assertEquals(JSON.parse(line), [false, true]);
}, { needs: ["script"] });

// All at once, because each takes a process and most of its time is the start.
test("libc can be called with the scoped permission and with the unscoped one", async () => {
  const flags = [[FLAG], ["--allow-ffi"], ["--allow-all"], [FLAG, "--allow-read"]];
  const all = flags.map((flags) => use(flags));
  assertEquals(await Promise.all(all), flags.map(() => USED));
});

test("a worker has the permissions of its process", async () => {
  const read = "--allow-read";
  const all = [use([FLAG, read], "worker"), use([read], "worker")];
  assertEquals(await Promise.all(all), [USED, REFUSED]);
});

test("without the permission the error has the flag that grants it", async () => {
  const [none, other, denied] = await Promise.all([
    use([]),
    use(["--allow-ffi=/lib/other.so"]),
    use(["--allow-ffi", `--deny-ffi=${LIBC}`]),
  ]);
  assertEquals([none, other], [REFUSED, REFUSED]);
  assertStringIncludes(denied!["message"]!, "without the --deny flag that takes it away");
});

test("nothing asks in a terminal, with or without the permission", async () => {
  const all = [useInTerminal([]), useInTerminal([FLAG]), useInTerminal(["--allow-ffi"])];
  assertEquals(await Promise.all(all), [REFUSED, USED, USED]);
}, { needs: ["script"] });

test("a libc that cannot be opened is named", async () => {
  const absent = "/usr/lib64/libc.so.6";
  const error = await use([`--allow-ffi=${absent}`]);
  assertEquals(error["class"], "NotSupported");
  assertStringIncludes(error["message"]!, `${START}libc cannot be used: `);
  assertStringIncludes(error["message"]!, absent);
});

test("a function that libc does not have is named", async () => {
  await using dir = new TempDir();
  const empty = dir.file("empty.so");
  const made = await run("gcc", ["-shared", "-nostdlib", "-xc", "/dev/null", "-o", empty]);
  assertEquals(made.stderr, "");
  const error = await use(["--allow-ffi"], "main", empty);
  assertEquals(error["class"], "NotSupported");
  assertStringIncludes(error["message"]!, `${START}libc cannot be used: `);
  assertMatch(error["message"]!, /symbol \w+/);
}, { needs: ["gcc"] });
