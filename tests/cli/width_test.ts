import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatCommand, formatProgram } from "../../_cli/parse/help.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { connect } from "@uds/uds";
import { FLAGS, onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, TempDir, test } from "../_helpers.ts";
import { echoServer } from "./_echo_server.ts";

const WIDTHS = [60, 72, 80, 100, 120, 200];
const TERMINAL = { needs: Deno.build.os === "linux" ? ["script"] : ["script of util-linux"] };

/** Returns the words of a text, without the ends of its lines. */
function wordsOf(text: string): string {
  return text.replace(/ \\\n/g, " ").split(/\s+/).join(" ");
}

for (const [name, command] of COMMANDS) {
  test(`the help of ${name} begins with examples, fits 60 to 200 columns, and is ASCII`, () => {
    const full = formatCommand(name, command, 200);
    for (const width of WIDTHS) {
      const text = formatCommand(name, command, width);
      const [title = "", examples = ""] = text.split("\n\n");
      assertStringIncludes(title, `uds ${name} `);
      for (const line of text.split("\n")) assert(line.length <= width, `${width}: ${line}`);
      assertMatch(text, /^[\n -~]*$/);
      for (const [line, what] of command.examples) {
        assertStringIncludes(wordsOf(examples), wordsOf(line));
        assertStringIncludes(wordsOf(examples), wordsOf(what));
      }
      // The width moves words, and drops none.
      assertEquals(
        wordsOf(text).split(" ").toSorted(),
        wordsOf(full).split(" ").toSorted(),
      );
    }
  });
}

/** Returns the ends of lines in a text after which the next word would have fitted. */
function earlyEnds(text: string, width: number): string[] {
  return [...text.matchAll(/^(?! )(.+)\n(?! )(\S+)/gm)].flatMap(([, line, word]) =>
    line!.length + 1 + word!.length <= width ? [`${line} / ${word}`] : []
  );
}

for (const width of [60, 72, 80, 100, 104, 120]) {
  test(`the helps fill lines of ${width} columns up to the end of a paragraph`, () => {
    const helps = [...COMMANDS].map(([name, command]) => formatCommand(name, command, width));
    for (const help of [formatProgram(COMMANDS, width), ...helps]) {
      assertEquals(earlyEnds(help, width), []);
    }
  });
}

test("the help of uds fits 60 to 200 columns", () => {
  for (const width of WIDTHS) {
    const text = formatProgram(COMMANDS, width);
    assertMatch(text, /^uds: Unix domain sockets\n\n {2}uds /);
    for (const line of text.split("\n")) assert(line.length <= width, `${width}: ${line}`);
  }
});

test("an example of the help that is broken is still one command of a shell", async () => {
  const [, relay] = [...COMMANDS].find(([name]) => name === "relay")!;
  const text = formatCommand("relay", relay, 60);
  const [broken] = text.match(/uds relay --cert [^\n]*\\\n[^\n]*/) ?? [""];
  const program = `uds() { printf '%s ' "$@"; }; ${broken}`;
  const { stdout } = await new Deno.Command("sh", { args: ["-c", program] }).output();
  const line = "relay --cert c.pem --key k.pem tls:0.0.0.0:8443 unix:/run/app.sock ";
  assertEquals(decode(stdout), line);
});

test("uds --help on a narrow terminal fits it, and has no colors with NO_COLOR", async () => {
  const command = udsCommand(["serve", "--help"]);
  const quoted = command.map((word) => `'${word}'`).join(" ");
  const sized = onTerminal(["sh", "-c", `stty cols 66; exec ${quoted}`]);
  await using process = new Process(sized, { env: { NO_COLOR: "1", TERM: "xterm" } });
  const { code, stdout } = await process.ended;
  const lines = decode(stdout).split("\r\n");
  assertEquals(code, 0);
  assert(Math.max(...lines.map(({ length }) => length)) <= 66, lines.join("\n"));
  assert(!decode(stdout).includes("\x1b"), decode(stdout));
}, TERMINAL);

test("uds prints no colors into a file", async () => {
  const env = { NO_COLOR: "", TERM: "xterm", FORCE_COLOR: "1" };
  const { stdout } = await uds(["--help"], { env });
  assert(!stdout.includes("\x1b"), stdout);
});

test(
  "uds tap and uds bench with LC_ALL=C print ASCII, and the direction without its color",
  async () => {
    await using dir = new TempDir();
    await using _server = await echoServer(dir.file("a.sock"));
    const env = { LC_ALL: "C", NO_COLOR: "1", TERM: "xterm" };
    const flags = [...FLAGS, "--allow-env"];
    const args = ["tap", dir.file("t.sock"), dir.file("a.sock")];
    await using tap = new Process(onTerminal(udsCommand(args, flags)), { env });
    await tap.stdout.until("listening");
    {
      await using conn = await connect(dir.file("t.sock"));
      await conn.write(encode("hi"));
      await conn.closeWrite();
      await readAll(conn);
    }
    await tap.stdout.until("close");
    const text = await tap.stdout.text();
    assertMatch(text, / #1 > +2 B {2}hi\r\n/);
    assertMatch(text, / #1 < +2 B {2}hi\r\n/);
    const bench = ["bench", "--send", "x", "--seconds", "0.1", dir.file("a.sock")];
    const { code, stdout } = await uds(bench, { env, flags });
    assertEquals(code, 0, stdout);
    assertMatch(text + stdout, /^[\r\n -~]*$/);
  },
  TERMINAL,
);
