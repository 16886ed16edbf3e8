/**
 * The table of commands: options, arguments and help. Parsing, suggestions and completion use it.
 * The file of a command is loaded only when the command runs.
 */

import type { ManFlags } from "./commands/man.ts";
import { type Command, command, type CommonFlags } from "./parse/command.ts";
import type { Commands } from "./parse/command_line.ts";
import { value } from "./parse/options.ts";
import { oneOf, type Shell, SHELLS, text } from "./parse/parameters.ts";
import { CALLING } from "./table/calling.ts";
import { PATHS } from "./table/paths.ts";
import { SERVING } from "./table/serving.ts";

/** The commands about the command line itself. */
const OWN: Readonly<Record<string, Command>> = {
  completion: command({
    brief: "print a completion script for a shell",
    usage: "bash|zsh|fish",
    examples: [
      ["source <(uds completion bash)", "in ~/.bashrc"],
      ["source <(uds completion zsh)", "in ~/.zshrc, after compinit"],
      ["uds completion fish | source", "in ~/.config/fish/config.fish"],
    ],
    options: {},
    args: [{ ...value(oneOf(SHELLS), "SHELL", "bash, zsh or fish"), values: SHELLS }],
    async load() {
      const { run } = await import("./commands/completion.ts");
      return { run: (_: CommonFlags, shell: Shell) => run(COMMANDS, shell) };
    },
  }),

  man: command({
    brief: "print a man page, or write all of them",
    usage: "[COMMAND]",
    examples: [
      ["uds man serve | man -l -", "the page of uds serve"],
      ["uds man --dir ~/.local/share/man/man1", "all pages: then man uds, man uds-serve"],
    ],
    notes:
      `The pages say what --help says. deno task install writes them to share/man/man1 of its root.`,
    options: {
      dir: value(text, "DIR", "write all pages to DIR, which is made if it is missing"),
    },
    args: [{ ...value(text, "COMMAND", "a command of uds"), isOptional: true }],
    async load() {
      const { run, needs } = await import("./commands/man.ts");
      return {
        needs,
        run: (flags: ManFlags, name?: string) => run(COMMANDS, flags, name),
      };
    },
  }),

  permissions: command({
    brief: "print the deno run line of a command, with the least permissions",
    usage: "COMMAND [ARG...]",
    examples: [
      ["uds permissions echo /run/app.sock", "to serve there"],
      ["uds permissions send --wait /run/app.sock hi", "to send a message"],
      ["uds permissions --json listen /run/app.sock", "for deno.json"],
    ],
    notes: "COMMAND and what follows it is a command line of uds. It does not run.",
    options: {},
    args: [{ ...value(text, "COMMAND", "a command of uds"), noun: "command", isRepeated: true }],
    stopsEarly: true,
    async load() {
      const { run } = await import("./commands/permissions.ts");
      return { run: (flags: CommonFlags, line: string[]) => run(COMMANDS, flags, line) };
    },
  }),
};

/** All commands, in the order of their names. */
export const COMMANDS: Commands = new Map(
  Object.entries({ ...CALLING, ...OWN, ...PATHS, ...SERVING }).sort(([a], [b]) => a < b ? -1 : 1),
);
