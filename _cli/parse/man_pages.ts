/** Man pages, in the roff of man(7). */

import type { Command, Example } from "./command.ts";
import type { Commands } from "./command_line.ts";
import { joined, wrapCommand } from "../text/wrap.ts";
import type { ProgramHelp } from "./help.ts";

/** A page: the name of its file, such as `uds-echo.1`, and its text. */
export interface ManPage {
  readonly file: string;
  readonly text: string;
}

const SECTION = 1;

/** Returns the pages of the program and of all commands. */
export function manPages(commands: Commands, help: ProgramHelp, version: string): ManPage[] {
  const all = [...commands];
  const program = page("uds", version, [
    section("NAME", ["uds \\- Unix domain sockets"]),
    section("SYNOPSIS", [`.B uds`, `${escape("COMMAND [ARG...]")}`]),
    section("EXAMPLES", examples(help.examples)),
    section("COMMANDS", terms(all.map(([name, { brief }]) => [`uds ${name}`, brief]))),
    section("OPTIONS", terms(help.requests)),
    section("DESCRIPTION", text(help.notes)),
    seeAlso(all.map(([name]) => `uds-${name}`)),
  ]);
  return [program, ...all.map(([name, command]) => commandPage(name, command, help, version))];
}

function commandPage(
  name: string,
  { brief, usage, examples: lines, args, options, notes = "" }: Command,
  { requests }: ProgramHelp,
  version: string,
): ManPage {
  const own = Object.entries(options).map(([name, { letter, ...option }]): Example => {
    const placeholder = option.parse === undefined ? "" : ` ${option.placeholder}`;
    return [`${letter === undefined ? "" : `-${letter}, `}--${name}${placeholder}`, option.brief];
  });
  return page(`uds-${name}`, version, [
    section("NAME", [`uds\\-${escape(name)} \\- ${escape(brief)}`]),
    section("SYNOPSIS", [`.B uds ${name}`, escape(`[OPTION...] ${usage}`)]),
    section("EXAMPLES", examples(lines)),
    section("DESCRIPTION", text(notes)),
    section("ARGUMENTS", terms(args.map(({ placeholder, brief }) => [placeholder, brief]))),
    section("OPTIONS", terms([...own, ...requests])),
    seeAlso(["uds"]),
  ]);
}

function page(name: string, version: string, sections: readonly string[][]): ManPage {
  const title = `.TH ${name.toUpperCase()} ${SECTION} "" "uds ${version}" "User Commands"`;
  // Without justification and hyphens, lines can be copied.
  return {
    file: `${name}.${SECTION}`,
    text: `${[title, ".nh", ".ad l", ...sections.flat()].join("\n")}\n`,
  };
}

/** Returns a section; nothing without lines. */
function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`.SH ${title}`, ...lines];
}

/** The columns that a page of 60 columns has for an example. */
const NARROW_COLUMNS = 49;
const DEEPER = "    ";

function examples(lines: readonly Example[]): string[] {
  return lines.flatMap(([line, what]) => [
    ".PP",
    `${escape(what[0]!.toUpperCase() + what.slice(1))}:`,
    ".PP",
    ".RS 4",
    ".nf",
    ...exampleLines(line),
    ".fi",
    ".RE",
  ]);
}

/** Returns a command. It is broken, as for a shell, only on a page that is too narrow for it. */
function exampleLines(line: string): string[] {
  const whole = bold(line);
  const [first = "", ...others] = wrapCommand(line, NARROW_COLUMNS);
  if (others.length === 0) return [whole];
  // The width of the command and the indentation, against the length of a line.
  return [
    `.ie \\w'${whole}'+\\n(.i>\\n(.l \\{\\`,
    bold(first),
    ...others.map((other) => bold(`${DEEPER}${other}`)),
    ".\\}",
    `.el ${whole}`,
  ];
}

function bold(plain: string): string {
  return `\\fB${escape(plain)}\\fR`;
}

function terms(rows: readonly Example[]): string[] {
  return rows.flatMap(([term, meaning]) => [
    ".TP",
    bold(term.trim()),
    escape(meaning),
  ]);
}

/** Returns the paragraphs of a text. An indented line stays a separate line. */
function text(notes: string): string[] {
  return notes === "" ? [] : notes.split("\n\n").flatMap((paragraph) => {
    const lines = joined(paragraph);
    return [
      ".PP",
      ...lines.flatMap((line, i) => {
        if (line.startsWith("  ")) return [".nf", escape(line), ".fi"];
        return [...(i > 0 ? [".br"] : []), escape(line)];
      }),
    ];
  });
}

function seeAlso(names: readonly string[]): string[] {
  const all = names.map((name) => `\\fB${escape(name)}\\fR(${SECTION})`);
  return section("SEE ALSO", [all.join(", ")]);
}

/** The characters that roff would change or cannot read, and how it writes them. */
const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "'": "\\(aq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
  '"': "\\(dq",
};

/** Returns a text as it should appear, in ASCII. A line cannot begin with a control character. */
function escape(plain: string): string {
  const escaped = plain.replace(/[\\\-'`^~"]/g, (character) => ESCAPES[character]!)
    .replace(/[^\n -~]/gu, (character) => {
      return `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`;
    });
  return /^[.]/.test(escaped) ? `\\&${escaped}` : escaped;
}
