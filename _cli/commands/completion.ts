/** `uds completion SHELL`: a script that completes command lines, made from the table of commands. */

import { COMMANDS } from "../table.ts";
import { OK } from "../exit_codes.ts";
import type { Shell } from "../parse/parameters.ts";
import { print } from "../io/output.ts";
import type { CommonFlags } from "../io/reporter.ts";

/** The command. */
export async function completion(_flags: CommonFlags, shell: Shell): Promise<number> {
  await print({ bash, zsh, fish }[shell]());
  return OK;
}

/** An option, as the scripts need it. */
interface Option {
  readonly name: string;
  readonly letter: string | undefined;
  readonly brief: string;
  /** What its value is called; `undefined` where it has none. */
  readonly placeholder: string | undefined;
  /** The values that it may have, where that is known. */
  readonly values: readonly string[];
}

const HELP: Option = {
  name: "help",
  letter: "h",
  brief: "print the help",
  placeholder: undefined,
  values: [],
};

/** The commands, and what follows each: its words, another command line, or, by default, files. */
const WORDS: Readonly<Record<string, () => readonly string[]>> = {
  completion: () => ["bash", "zsh", "fish"],
  help: () => [...COMMANDS.keys()],
  permissions: () => [...COMMANDS.keys()],
};
/** The commands that end with another command line, and how many arguments of their own come before it. */
const RUNNING: Readonly<Record<string, number>> = { run: 0, serve: 1 };

function names(): string[] {
  return [...COMMANDS.keys(), "help"];
}

function optionsOf(command: string): Option[] {
  const { flags, aliases } = COMMANDS.get(command)?.parameters ?? { flags: {}, aliases: {} };
  const letters = new Map(
    Object.entries(aliases).map(([letter, name]) => [name, letter]),
  );
  const options = Object.entries(flags).map(([name, flag]): Option => ({
    name,
    letter: letters.get(name),
    brief: flag.brief,
    placeholder: flag.kind === "boolean" ? undefined : flag.placeholder,
    values: flag.kind === "enum" ? flag.values : [],
  }));
  return [...options, HELP];
}

/** A word of a shell, as it is. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bash(): string {
  const all = names().map((name) => {
    const options = optionsOf(name);
    const valued = options.filter(({ placeholder }) => placeholder !== undefined);
    return [
      `    ${name})`,
      `      options=${quote(options.map((option) => `--${option.name}`).join(" "))}`,
      `      valued=${quote(spellings(valued).join(" "))}`,
      `      words=${quote((WORDS[name]?.() ?? []).join(" "))}`,
      "      ;;",
    ].join("\n");
  });
  const values = names().flatMap(optionsOf).filter((option) => option.values.length > 0);
  const known = new Map(values.map((option) => [option.name, option.values]));
  const cases = [...known].map(([name, all]) =>
    `    --${name}) COMPREPLY=($(compgen -W ${quote(all.join(" "))} -- "$current")); return ;;`
  );
  return `# Completion of uds for bash: source <(uds completion bash)
_uds() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  local command=\${COMP_WORDS[1]} first=2 options= valued= words= at
  COMPREPLY=()
  # bash takes --framing=KIND for three words.
  if [[ $current == = ]]; then current=; fi
  if [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quote(`${names().join(" ")} --help --version`)} -- "$current"))
    return
  fi
  # What follows -- is a command line of its own: the default completes its files.
  for ((at = 2; at < COMP_CWORD; at++)); do
    if [[ \${COMP_WORDS[at]} == -- ]]; then
      ((at == COMP_CWORD - 1)) && COMPREPLY=($(compgen -c -- "$current"))
      return
    fi
  done
  case $before in
${cases.join("\n")}
  esac
  if [[ $command == permissions ]] && ((COMP_CWORD > 2)); then command=\${COMP_WORDS[2]} first=3; fi
  case $command in
${all.join("\n")}
  esac
  [[ " $valued " == *" $before "* ]] && return
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n $words ]] && ((COMP_CWORD == first)); then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [[ $command == run && ($before == run || $before == -*) ]]; then
    COMPREPLY=($(compgen -c -- "$current"))
  fi
}
complete -o default -F _uds uds
`;
}

/** How an option may be written. */
function spellings(options: readonly Option[]): string[] {
  return options.flatMap(({ name, letter }) => {
    return letter === undefined ? [`--${name}`] : [`--${name}`, `-${letter}`];
  });
}

function zsh(): string {
  const briefs = names().map((name) =>
    `    ${quote(`${name}:${COMMANDS.get(name)?.brief ?? "print the help of a command"}`)}`
  );
  const cases = names().map((name) => {
    const specs = optionsOf(name).flatMap((option) => zshOption(option));
    const words = WORDS[name]?.();
    const own = RUNNING[name];
    if (words !== undefined) specs.push(`1:word:(${words.join(" ")})`);
    else if (own === undefined) specs.push("*:file:_files");
    if (own !== undefined) {
      for (let place = 1; place <= own; place++) specs.push(`${place}:file:_files`);
      specs.push("*::command:_normal");
    }
    return `    ${name}) _arguments ${specs.map(quote).join(" ")} ;;`;
  });
  return `# Completion of uds for zsh: source <(uds completion zsh)
_uds() {
  local -a known=(
${briefs.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command known
    return
  fi
  shift words
  ((CURRENT--))
  if [[ $words[1] == permissions ]] && ((CURRENT > 2)); then
    shift words
    ((CURRENT--))
  fi
  # What follows -- is a command line of its own.
  local -i at=$words[(i)--]
  if [[ $words[1] == (${Object.keys(RUNNING).join("|")}) ]] && ((at < CURRENT)); then
    shift $at words
    ((CURRENT -= at))
    _normal
    return
  fi
  case $words[1] in
${cases.join("\n")}
  esac
}
compdef _uds uds
`;
}

function zshOption({ name, letter, brief, placeholder, values }: Option): string[] {
  const what = `[${brief.replace(/[[\]:]/g, "\\$&")}]`;
  const file = placeholder === "FILE" ? "_files" : "";
  const action = values.length > 0 ? `(${values.join(" ")})` : file;
  const value = placeholder === undefined ? "" : `:${placeholder}:${action}`;
  return spellings([{ name, letter, brief, placeholder, values }])
    .map((spelling) => {
      const assigned = placeholder !== undefined && spelling.startsWith("--") ? "=" : "";
      return `${spelling}${assigned}${what}${value}`;
    });
}

function fish(): string {
  const all = names();
  const lines = all.map((name) => {
    const brief = COMMANDS.get(name)?.brief ?? "print the help of a command";
    return `complete -c uds -n __uds_first -f -a ${name} -d ${quote(brief)}`;
  });
  for (const name of all) {
    const when = `-n ${quote(`__uds_is ${name}`)}`;
    for (const { name: option, letter, brief, placeholder, values } of optionsOf(name)) {
      const short = letter === undefined ? "" : ` -s ${letter}`;
      const file = placeholder === "FILE" ? " -r -F" : " -x";
      const value = placeholder === undefined ? "" : file;
      const choice = values.length > 0 ? ` -a ${quote(values.join(" "))}` : "";
      lines.push(
        `complete -c uds ${when}${short} -l ${option}${value}${choice} -d ${quote(brief)}`,
      );
    }
    const words = WORDS[name]?.();
    if (words !== undefined) lines.push(`complete -c uds ${when} -f -a ${quote(words.join(" "))}`);
  }
  return `# Completion of uds for fish: uds completion fish | source
function __uds_first
    test (count (commandline -opc)) -eq 1
end
# Only the first word tells: another command may be an argument.
function __uds_is
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2]" = permissions; and set -e words[2]
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"; and not contains -- -- $words
end
# What follows -- is a command line of its own.
function __uds_runs
    set -l words (commandline -opc)
    contains -- "$words[2]" ${Object.keys(RUNNING).join(" ")}; and contains -- -- $words
end
function __uds_run
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- -- $words)
    complete -C (string join -- ' ' (string escape -- $words[(math $at + 1)..-2]) $words[-1])
end
complete -c uds -n __uds_runs -f -a '(__uds_run)'
${lines.join("\n")}
`;
}
