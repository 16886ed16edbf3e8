import { pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { onTerminal as terminalCommand } from "../_cli.ts";
import { decode, Program, readAll, ROOT, run, TempDir, test } from "../_helpers.ts";
import { assertOutcome, FIXTURES, Hostile, NAMES, saying, write } from "./_sandbox.ts";

/** Starts a parent of a module on a terminal without input. */
function onTerminal(url: URL, options: PairOptions, before: string[] = []): Program {
  const deno = ["run", "-A", "--quiet", "--no-lock", "--config", `${ROOT}deno.json`];
  const script = [`${FIXTURES}/start_module.ts`, url.pathname, JSON.stringify(options)];
  if (options.config) script.push(options.config.href);
  const words = [...before, Deno.execPath(), ...deno, ...script];
  const [command, ...args] = terminalCommand(words);
  return new Program(command!, args, {
    // The parent must not look for a newer Deno: that would be traced as well.
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: "piped",
  });
}

test(
  "pair(module) sends nothing, opens no secret and never prompts, also on a terminal",
  async () => {
    await using hostile = new Hostile();
    const url = await hostile.prepare();
    const log = hostile.dir.file("secrets/strace.log");
    const config = new URL("deno.json", url);
    const options = { args: [JSON.stringify(hostile.targets)], config };
    const trace = ["-f", "-qq", "--trace=connect,sendto,sendmsg,sendmmsg,openat"];
    await using program = onTerminal(url, options, ["strace", ...trace, `--output=${log}`]);
    const output = (await program.output()).map((text) => text.trim());
    const said = output.find((text) => text.startsWith("{"));
    assert(said !== undefined, output.join("\n"));
    const report = JSON.parse(said) as Record<string, string>;
    for (const name of NAMES) assertOutcome(name, report[name]);
    const talk = output.filter((text) => text !== said).join("\n");
    assert(!/Allow\?|Deno requests|\[y\/n|password\?|sure\?/.test(talk), talk);

    const calls = (await Deno.readTextFile(log)).split("\n");
    assert(calls.some((call) => call.includes("hostile.ts")), "the trace is of the module");
    assertEquals(calls.filter((call) => call.includes("AF_INET")), []);
    assertEquals(calls.filter((call) => /secret\.(txt|json|js)"/.test(call)), []);
    await Deno.remove(log);
    await hostile.assertUntouched();
  },
  { deadline: 30_000, needs: ["script", "strace"] },
);

test(
  "pair(module) never prompts for a permission, also with the terminal as its input",
  async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": saying(
        "[isTerminal, state, name]",
        `
      const isTerminal = Deno.stdin.isTerminal();
      const { state } = await Deno.permissions.request({ name: "env" });
      let name;
      try { Deno.readTextFileSync("/etc/passwd"); } catch (error) { name = error.name; }
    `,
      ),
    });
    await using program = onTerminal(url, { stdin: "inherit" });
    const output = (await program.output()).map((line) => line.trim()).filter((line) =>
      line !== ""
    );
    assertEquals(output[0], JSON.stringify([true, "denied", "NotCapable"]));
    assertEquals(output.length, 2);
  },
  { needs: ["script"] },
);

test("pair(module) ends the process of a module that does not catch the refusal of a worker", async () => {
  await using dir = new TempDir();
  const text = saying(
    "1",
    `
    const deno = { permissions: { read: true } };
    new Worker("data:text/javascript,", { type: "module", deno });
  `,
  );
  await using child = await pair(await write(dir, { "w.ts": text }), { stderr: "null" });
  assertEquals(decode(await readAll(child.conn)), "");
  assertEquals((await child.status).success, false);
});

test(
  "pair(module) has no output of this process's own, and what it prints is copied there",
  async () => {
    const parent = `
    import { pair } from "@uds/uds";
    await using child = await pair(new URL(Deno.args[0]), { grace: 5000 });
    await new Response(child.conn.readable).text();
    await child.status;
    await child[Symbol.asyncDispose]();
    await Deno.stdout.write(new TextEncoder().encode("last\\n"));`;
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": `
      import net from "node:net";
      import fs from "node:fs";
      console.log("printed");
      console.error("complained");
      Deno.stdout.writeSync(new Uint8Array(300_000).fill(46));
      console.log();
      for (const fd of [1, 2]) {
        try {
          const socket = new net.Socket({ fd, allowHalfOpen: true });
          socket.on("error", () => {});
          socket.on("data", (data) => fs.writeSync(3, "stole " + data));
          socket.end();
        } catch { /* it cannot even be adopted */ }
      }`,
      "parent.ts": parent,
    });
    const config = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock"];
    const args = ["run", "-A", ...config, dir.file("parent.ts"), url.href];
    const { code, stdout, stderr } = await run(Deno.execPath(), args);
    assertEquals([code, stderr], [0, "complained\n"]);
    assertEquals(
      stdout.replace(".".repeat(300_000), "300,000 dots"),
      "printed\n300,000 dots\nlast\n",
    );
  },
  { deadline: 20_000 },
);

test("pair(module) cannot change a terminal that is its parent's output", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "[0, 1, 2].map((fd) => fs.fstatSync(fd).isCharacterDevice())",
      `import tty from "node:tty";
      for (const fd of [0, 1, 2]) {
        try { new tty.ReadStream(fd).setRawMode(true); } catch { /* as it should be */ }
      }`,
    ),
    "parent.ts": `
      import { pair } from "@uds/uds";
      await using child = await pair(new URL(Deno.args[0]));
      console.log(await new Response(child.conn.readable).text());`,
  });
  const config = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock"];
  const words = [Deno.execPath(), "run", "-A", ...config, dir.file("parent.ts"), url.href];
  // As parameters of the shell, the words are not split.
  const [script, ...args] = terminalCommand(["sh", "-c", '"$@"; stty -a', "sh", ...words]);
  const { stdout } = await run(script!, args);
  assertMatch(stdout, /[^-]icanon/);
}, { needs: ["script"] });
