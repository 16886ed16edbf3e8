/**
 * `uds completion SHELL`: prints a script that completes command lines, from the table of commands.
 */

import { print } from "../io/output.ts";
import type { Switch, Value } from "../parse/command.ts";
import type { Commands } from "../parse/command_line.ts";
import type { Shell } from "../parse/parameters.ts";
import { shellQuote as quote } from "../text/printable.ts";

/** The command. */
export async function run(commands: Commands, shell: Shell): Promise<void> {
  await print({ bash, zsh, fish }[shell](wordsOf(commands)));
}

/** A command, as the scripts need it. */
interface Word {
  readonly name: string;
  readonly brief: string;
  readonly options: readonly Option[];
  /** The possible values of its first argument, if they can be listed. */
  readonly values: readonly string[];
  /** How many arguments precede the command line that it runs, if it runs one. */
  readonly before: number | undefined;
}

type Option = (Switch | Value) & { readonly name: string };

const HELP: Option = { name: "help", letter: "h", brief: "print the help" };

/** Returns the commands, and `help`. */
function wordsOf(commands: Commands): Word[] {
  const names = [...commands.keys()];
  const words = [...commands].map(([name, { brief, options, args }]): Word => {
    const before = args.findIndex(({ placeholder }) => placeholder === "CMD");
    return {
      name,
      brief,
      options: [...Object.entries(options).map(([name, option]) => ({ name, ...option })), HELP],
      values: args[0]?.placeholder === "COMMAND" ? names : args[0]?.values ?? [],
      before: before < 0 ? undefined : before,
    };
  });
  const help = { options: [HELP], values: names, before: undefined };
  return [...words, { name: "help", brief: "print the help of a command", ...help }];
}

/** Returns the names of the commands that run another command line. */
function runningOf(words: readonly Word[]): string[] {
  return words.filter(({ before }) => before !== undefined).map(({ name }) => name);
}

/** Returns how an option can be written. */
function spellings({ name, letter }: Option): string[] {
  return [`--${name}`, ...(letter === undefined ? [] : [`-${letter}`])];
}

/** Returns the possible values of an option, if they can be listed. */
function valuesOf(option: Option): readonly string[] {
  return option.parse === undefined ? [] : option.values ?? [];
}

function bash(words: readonly Word[]): string {
  const cases = words.map(({ name, options, values }) => {
    const valued = options.filter(({ parse }) => parse !== undefined);
    return `    ${name})
      options=${quote(options.map(({ name }) => `--${name}`).join(" "))}
      valued=${quote(valued.flatMap(spellings).join(" "))}
      words=${quote(values.join(" "))}
      ;;`;
  });
  const listed = new Map(
    words.flatMap(({ options }) => options).map((option) => [option.name, valuesOf(option)]),
  );
  const values = [...listed].filter(([, all]) => all.length > 0).map(([name, all]) =>
    `    --${name}) COMPREPLY=($(compgen -W ${quote(all.join(" "))} -- "$current")); return ;;`
  );
  const names = words.map(({ name }) => name).join(" ");
  return `# Completion of uds for bash: source <(uds completion bash)
_uds() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  local command=\${COMP_WORDS[1]} first=2 options= valued= words= at
  COMPREPLY=()
  # bash splits --framing=KIND into three words.
  if [[ $current == = ]]; then current=; fi
  if [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quote(`${names} --help --version`)} -- "$current"))
    return
  fi
  # What follows -- is another command line: the default completes its files.
  for ((at = 2; at < COMP_CWORD; at++)); do
    if [[ \${COMP_WORDS[at]} == -- ]]; then
      ((at == COMP_CWORD - 1)) && COMPREPLY=($(compgen -c -- "$current"))
      return
    fi
  done
  case $before in
${values.join("\n")}
  esac
  if [[ $command == permissions ]] && ((COMP_CWORD > 2)); then command=\${COMP_WORDS[2]} first=3; fi
  case $command in
${cases.join("\n")}
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

function zsh(words: readonly Word[]): string {
  const briefs = words.map(({ name, brief }) => `    ${quote(`${name}:${brief}`)}`);
  const cases = words.map(({ name, options, values, before }) => {
    const specs = options.flatMap(zshOption);
    if (values.length > 0) specs.push(`1:word:(${values.join(" ")})`);
    else if (before === undefined) specs.push("*:file:_files");
    for (let place = 1; place <= (before ?? 0); place++) specs.push(`${place}:file:_files`);
    if (before !== undefined) specs.push("*::command:_normal");
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
  # What follows -- is another command line.
  local -i at=$words[(i)--]
  if [[ $words[1] == (${runningOf(words).join("|")}) ]] && ((at < CURRENT)); then
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

function zshOption(option: Option): string[] {
  const what = `[${option.brief.replace(/[[\]:]/g, "\\$&")}]`;
  if (option.parse === undefined) return spellings(option).map((spelling) => spelling + what);
  const values = valuesOf(option);
  const action = values.length > 0 ? `(${values.join(" ")})` : filesOf(option, "_files");
  return spellings(option).map((spelling) =>
    `${spelling}${spelling.startsWith("--") ? "=" : ""}${what}:${option.placeholder}:${action}`
  );
}

/** Returns one text if the value of the option is a file, and another one if not. */
function filesOf({ placeholder }: Value, file: string, other = ""): string {
  return placeholder === "FILE" ? file : other;
}

function fish(words: readonly Word[]): string {
  const lines = words.map(({ name, brief }) =>
    `complete -c uds -n __uds_first -f -a ${name} -d ${quote(brief)}`
  );
  for (const { name, options, values } of words) {
    const start = `complete -c uds -n ${quote(`__uds_is ${name}`)}`;
    for (const option of options) {
      const letter = option.letter === undefined ? "" : ` -s ${option.letter}`;
      const value = option.parse === undefined ? "" : filesOf(option, " -r -F", " -x");
      const choice = valuesOf(option).join(" ");
      lines.push(
        `${start}${letter} -l ${option.name}${value}${choice && ` -a ${quote(choice)}`} ` +
          `-d ${quote(option.brief)}`,
      );
    }
    if (values.length > 0) lines.push(`${start} -f -a ${quote(values.join(" "))}`);
  }
  return `# Completion of uds for fish: uds completion fish | source
function __uds_first
    test (count (commandline -opc)) -eq 1
end
# Only the first word counts: the name of another command may be an argument.
function __uds_is
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2]" = permissions; and set -e words[2]
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"; and not contains -- -- $words
end
# What follows -- is another command line.
function __uds_runs
    set -l words (commandline -opc)
    contains -- "$words[2]" ${runningOf(words).join(" ")}; and contains -- -- $words
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
