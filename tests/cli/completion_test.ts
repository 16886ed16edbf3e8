import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { uds } from "../_cli.ts";
import { run, TempDir, test } from "../_helpers.ts";

/** Writes the completion script of a shell to a file. */
async function script(dir: TempDir, shell: string): Promise<string> {
  const { code, stdout, stderr } = await uds(["completion", shell], { flags: [] });
  assertEquals([code, stderr], [0, ""]);
  await Deno.writeTextFile(dir.file("uds"), stdout);
  return dir.file("uds");
}

const LINES: [words: string[], offered: string[]][] = [
  [["s"], ["send", "serve"]],
  [["send", "--fr"], ["--framing"]],
  [["send", "--framing", "u"], ["u32be", "u32le"]],
  [["permissions", "ta"], ["tap"]],
  [["completion", ""], ["bash", "zsh", "fish"]],
  [["relay", "--c"], ["--cert", "--ca", "--client-ca"]],
  [["permissions", "tap", "--c"], ["--cert", "--ca", "--client-ca"]],
  [["run", "--", "sha256su"], ["sha256sum"]],
  [["serve", "/tmp/x", "--", "sha256su"], ["sha256sum"]],
];

for (const [words, offered] of LINES) {
  test(`uds completion bash offers ${offered.join(" ")} for ${words.join(" ")}`, async () => {
    await using dir = new TempDir();
    const program = `source "$1"; shift; COMP_WORDS=(uds "$@"); COMP_CWORD=$#; _uds
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await run("bash", ["-c", program, "-", await script(dir, "bash"), ...words]);
    // A program that is in two directories of PATH is offered twice.
    assertEquals([...new Set(stdout.trimEnd().split("\n"))].sort(), offered.toSorted());
  }, { needs: ["bash"] });

  test(`uds completion fish offers ${offered.join(" ")} for ${words.join(" ")}`, async () => {
    await using dir = new TempDir();
    const program = `source $argv[1]; complete -C "uds $argv[2]"`;
    const args = ["--no-config", "-c", program, await script(dir, "fish"), words.join(" ")];
    const { stdout, stderr } = await run("fish", args);
    const found = stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]!);
    assertEquals([found.sort(), stderr], [offered.toSorted(), ""]);
  }, { needs: ["fish"] });
}

test("uds completion zsh offers the commands and the options", async () => {
  await using dir = new TempDir();
  // These stand for the functions of zsh: its line editor would need a terminal.
  const program = `compdef() { true }
    _describe() { print -l -- "\${(@P)2}" }
    _arguments() { print -l -- "$@" }
    source "$1"
    words=(uds s); CURRENT=2; _uds
    words=(uds send --framing u); CURRENT=4; _uds`;
  const { stdout, stderr } = await run("zsh", ["-fc", program, "-", await script(dir, "zsh")]);
  assertEquals(stderr, "");
  const lines = stdout.split("\n");
  assert(lines.some((line) => line.startsWith("serve:serve a path")));
  assert(lines.some((line) => /^--framing=\[.*\]:KIND:\(lines nul .*\)$/.test(line)), stdout);
  assert(lines.includes("*:file:_files"));
}, { needs: ["zsh"] });

test("uds completion bash offers the values of --framing=", async () => {
  await using dir = new TempDir();
  // Bash splits the word like this.
  const program = `source "$1"; COMP_WORDS=(uds send --framing = u); COMP_CWORD=4; _uds
    echo "\${COMPREPLY[@]}"`;
  const { stdout } = await run("bash", ["-c", program, "-", await script(dir, "bash")]);
  assertEquals(stdout, "u32be u32le\n");
}, { needs: ["bash"] });

for (
  const [typed, completed] of [
    ["uds li", "uds listen"],
    ["uds send --framing=n", "uds send --framing=nul"],
    ["uds run -- sha256su", "uds run -- sha256sum"],
    ["uds serve /tmp/x -- sha256su", "uds serve /tmp/x -- sha256sum"],
    ["uds permissions tap --fr", "uds permissions tap --framing="],
  ] as const
) {
  test(`uds completion zsh makes ${completed} of ${typed} at Tab`, async () => {
    await using dir = new TempDir();
    const program = `zmodload zsh/zpty
      zpty shell "TERM=dumb zsh -fi"
      zpty -w shell "PS1=; autoload -U compinit; compinit -uD; source $1; echo rea''dy"
      zpty -r shell shown '*ready*'
      zpty -w -n shell "$2"$'\t'
      zpty -r shell shown "*$3*"
      zpty -d shell
      print -r -- $shown`;
    const args = ["-fc", program, "-", await script(dir, "zsh"), typed, completed];
    assertStringIncludes((await run("zsh", args)).stdout, completed);
  }, { needs: ["zsh"] });
}

test("uds completion refuses another shell", async () => {
  const { code, stderr } = await uds(["completion", "tcsh"], { flags: [] });
  assertEquals(code, 2);
  assertStringIncludes(stderr, 'SHELL must be one of bash, zsh, fish, got "tcsh"');
});
