/**
 * The table of commands, from which parsing, help, suggestions and completion are made. What a command
 * does is in a file of its own, which is loaded when it is called: therefore `completion` and
 * `permissions` can read this table, although it names them.
 */

import type { SocketPath } from "../address.ts";
import { permissions } from "../permissions.ts";
import { ownershipPermissions } from "./parse/ownership.ts";
import type { BenchFlags } from "./commands/bench.ts";
import { type Command, command } from "./parse/command.ts";
import type { ConnectFlags } from "./commands/connect.ts";
import type { EchoFlags } from "./commands/echo.ts";
import type { Endpoint } from "./io/endpoint.ts";
import type { ListenFlags } from "./commands/listen.ts";
import type { LsFlags } from "./commands/ls.ts";
import {
  COMMON,
  CONNECTING,
  EXPECT,
  flag,
  FRAMING,
  IDLE,
  MAX,
  MODE,
  option,
  OWNERSHIP,
  PATH,
  PIECE,
  RELAYING,
  SHORT,
  SIDES,
} from "./options.ts";
import { duration, seconds, type Shell, shell, text } from "./parse/parameters.ts";
import type { RelayFlags } from "./commands/relay.ts";
import type { RunFlags } from "./commands/run.ts";
import type { SendFlags } from "./commands/send.ts";
import type { ServeFlags } from "./commands/serve.ts";
import type { CommonFlags } from "./io/reporter.ts";
import type { TapFlags } from "./commands/tap.ts";

const MESSAGES =
  `With --framing each line of the input is sent as a message, and each message that comes is printed as
a line, or with --json as an object with its size and its text. --hex is for messages that are no text:
they are written and printed in hexadecimal.`;

const ENDS =
  `The first Ctrl-C, SIGTERM or SIGHUP ends it gracefully, with the path removed. A second one ends it at
once, half a second later or more.`;

/** The commands. */
export const COMMANDS: ReadonlyMap<string, Command> = new Map(Object.entries({
  bench: command<BenchFlags, [SocketPath?]>({
    brief: "measure an echo server: round trips, bulk, messages",
    usage: "PATH | --self",
    examples: [
      ["uds bench --self", "this package with itself, in one process"],
      ["uds bench /tmp/echo.sock", "an echo server: uds echo, socat, or one's own"],
      ["uds bench --json --seconds 5 /tmp/echo.sock", "for a script"],
    ],
    notes:
      `It makes three measurements of --seconds each, after a fifth of that to warm up: round trips of 64
bytes, one after the other; bytes in bulk, there and back; messages of 64 bytes behind their length,
1,024 of them on their way. With --self, the echo and the measurement share one process.`,
    parameters: {
      flags: {
        self: flag("serve the echo as well"),
        seconds: option(duration, "SECONDS", "how long each measurement takes (default 1)"),
        ...COMMON,
      },
      aliases: SHORT,
      positional: { kind: "tuple", parameters: [{ ...PATH, optional: true }] },
    },
    needs: async (_, path) =>
      path === undefined
        ? (await import("./commands/bench.ts")).SELF_NEEDS
        : permissions("connect", path),
    load: async () => (await import("./commands/bench.ts")).bench,
  }),

  completion: command<CommonFlags, [Shell]>({
    brief: "print a script that completes command lines in a shell",
    usage: "bash|zsh|fish",
    examples: [
      ["source <(uds completion bash)", "in ~/.bashrc"],
      ["source <(uds completion zsh)", "in ~/.zshrc, after compinit"],
      ["uds completion fish | source", "in ~/.config/fish/config.fish"],
    ],
    parameters: {
      flags: COMMON,
      aliases: SHORT,
      positional: {
        kind: "tuple",
        parameters: [{ parse: shell, placeholder: "SHELL", brief: "bash, zsh or fish" }],
      },
    },
    needs: () => ({}),
    load: async () => (await import("./commands/completion.ts")).completion,
  }),

  connect: command<ConnectFlags, [SocketPath]>({
    brief: "connect to a path, with standard input and output",
    usage: "PATH",
    examples: [
      ["uds connect /tmp/chat.sock", "talk to it"],
      ["uds connect /tmp/store.sock < in > out", "a file there, and what comes back"],
      ["uds connect --wait --timeout 30 /tmp/app.sock", "when its server has started"],
    ],
    notes:
      `The end of the input is passed on, and what comes back is printed until it ends (nc -U -N). If the
server ends only its own direction, the input is still sent to it; if it goes away, the command ends.
${MESSAGES}`,
    parameters: {
      flags: { ...CONNECTING, ...FRAMING, expect: EXPECT, ...COMMON },
      aliases: { w: "timeout", ...SHORT },
      positional: { kind: "tuple", parameters: [PATH] },
    },
    needs: (_, path) => permissions("connect", path),
    load: async () => (await import("./commands/connect.ts")).connect,
  }),

  echo: command<EchoFlags, [SocketPath]>({
    brief: "serve an echo",
    usage: "PATH",
    examples: [
      ["uds echo /tmp/echo.sock", "for clients of this user"],
      ["uds echo --mode 660 /tmp/echo.sock", "and of its group"],
      ["uds echo --piece 16 /tmp/echo.sock", "in pieces of at most 16 bytes, telling each"],
    ],
    notes: ENDS,
    parameters: {
      flags: { mode: MODE, piece: PIECE, ...COMMON },
      aliases: SHORT,
      positional: { kind: "tuple", parameters: [PATH] },
    },
    needs: (flags, path) => permissions("serve", path, ownershipPermissions(flags)),
    load: async () => (await import("./commands/echo.ts")).echo,
  }),

  listen: command<ListenFlags, [SocketPath]>({
    brief: "serve a path, with standard input and output",
    usage: "PATH",
    examples: [
      ["uds listen /tmp/chat.sock", "talk to the first client"],
      ["uds listen /tmp/store.sock > out", "receive a file"],
      ["uds listen --keep /tmp/log.sock < /dev/null >> log", "one client after the other"],
    ],
    notes:
      `It serves one client (nc -lU), or with --keep one after the other, while the others wait. The input
goes to the client that is there when it is read; once it has ended, it has ended for all later ones.
${MESSAGES}
${ENDS}`,
    parameters: {
      flags: {
        keep: flag("go on with the next client"),
        timeout: option(seconds, "SECONDS", "how long to wait for a client (default: for ever)"),
        mode: MODE,
        ...FRAMING,
        expect: EXPECT,
        ...COMMON,
      },
      aliases: { k: "keep", w: "timeout", ...SHORT },
      positional: { kind: "tuple", parameters: [PATH] },
    },
    needs: (flags, path) => permissions("serve", path, ownershipPermissions(flags)),
    load: async () => (await import("./commands/listen.ts")).listen,
  }),

  ls: command<LsFlags, string[]>({
    brief: "list sockets, and who has them",
    usage: "[DIR...]",
    examples: [
      ["uds ls", "those of this user, and those below /run"],
      ["uds ls /tmp /var/run/app", "those in some directories"],
      ["uds ls --probe /run/app", "and whether somebody listens: by connecting"],
      ["uds ls --json | jq -r '.[].path'", "for a script"],
    ],
    notes:
      `Without DIR it lists all below $XDG_RUNTIME_DIR (else $TMPDIR/uds-UID, else /tmp/uds-UID) and below
/run. It does not leave the file system of a directory, and does not follow symbolic links in it.

What has a name that is not UTF-8 is reported and left out: Deno cannot name it.

The state comes from the lock beside a socket: "claimed" means that a program with this package has it,
and its process is named. Of any other socket only a connection could tell more: it is "unknown". With
--probe it connects, which the servers notice, and says "alive", "full", "stale", "denied" or
"not-a-socket".`,
    parameters: {
      flags: {
        probe: flag("connect, to learn whether somebody listens"),
        recursive: flag("also below the directories"),
        ...COMMON,
      },
      aliases: { p: "probe", R: "recursive", ...SHORT },
      positional: {
        kind: "array",
        parameter: { parse: text, placeholder: "DIR", brief: "a directory, or a socket" },
      },
    },
    needs: async (flags, ...directories) =>
      (await import("./commands/ls.ts")).needs(flags, directories),
    load: async () => (await import("./commands/ls.ts")).ls,
  }),

  permissions: command<CommonFlags, string[]>({
    brief: "print the deno run line of a command, with the least permissions",
    usage: "COMMAND [ARG...]",
    examples: [
      ["uds permissions echo /run/app.sock", "to serve there"],
      ["uds permissions send --wait /run/app.sock hi", "to send a message"],
      ["uds permissions --json listen /run/app.sock", "as deno.json has them"],
    ],
    notes: "What follows COMMAND is its own command line. Nothing is run.",
    parameters: {
      flags: COMMON,
      aliases: SHORT,
      positional: {
        kind: "array",
        parameter: { parse: text, placeholder: "COMMAND", brief: "a command of uds" },
        minimum: 1,
      },
    },
    needs: () => ({}),
    load: async () => (await import("./commands/permissions.ts")).printPermissions,
  }),

  probe: command<CommonFlags, [SocketPath]>({
    brief: "say what is at a path",
    usage: "PATH",
    examples: [
      ["uds probe /run/app.sock", "alive, stale, free …"],
      ["uds probe -q /run/app.sock && echo up", "by the exit code alone"],
      ["uds probe --json /run/app.sock", "with mode, owner, and the process that has it"],
    ],
    notes:
      `It connects, and closes again at once, which the server notices. With --quiet it prints nothing. The
state is also the exit code:

  alive 0   free 3   stale 4   claimed 5   full 5   denied 6   not-a-socket 7`,
    parameters: {
      flags: COMMON,
      aliases: SHORT,
      positional: { kind: "tuple", parameters: [PATH] },
    },
    needs: (_, path) => permissions("probe", path),
    load: async () => (await import("./commands/probe.ts")).probe,
  }),

  relay: command<RelayFlags, [Endpoint, Endpoint]>({
    brief: "pass every connection to one address on to another one",
    usage: "LISTEN TARGET",
    examples: [
      ["uds relay unix:/tmp/db.sock tcp:db.example:5432", "a remote service as a local path"],
      ["uds relay tcp:127.0.0.1:2375 unix:/run/app.sock", "a local path as a port"],
      ["uds relay unix:/tmp/app.sock tls:app.example:8443", "encrypted on its way"],
      [
        "uds relay --cert c.pem --key k.pem tls:0.0.0.0:8443 unix:/run/app.sock",
        "the other end of it",
      ],
    ],
    notes:
      `It serves many connections; clients beyond --max wait. With --idle a connection is closed after that
time without a byte in either direction. The end of one direction is passed on, and the other one goes
on; what a side sent before it failed arrives. TARGET is tried again for --timeout while nobody listens
there. Bytes are passed on and nothing else: descriptors that a program sends along (SCM_RIGHTS) are
lost, so tmux, for one, does not work through it.
A port has no owner and no mode: anyone who reaches it is let in. tls: encrypts, and proves who the
server is; it does not check who the client is. (A self-signed certificate must have the server's name,
and basicConstraints=CA:FALSE.) Where you have an account, ssh -L and -R forward sockets.
${ENDS}`,
    parameters: {
      flags: RELAYING,
      aliases: { w: "timeout", ...SHORT },
      positional: { kind: "tuple", parameters: SIDES },
    },
    needs: async (flags, from, to) => (await import("./commands/relay.ts")).needs(flags, from, to),
    load: async () => (await import("./commands/relay.ts")).relay,
  }),

  rm: command<CommonFlags, SocketPath[]>({
    brief: "remove sockets that nobody listens on",
    usage: "PATH...",
    examples: [
      ["uds rm /tmp/app.sock", "what a server that was killed has left"],
      ["uds rm /tmp/*.sock", "the dead ones: others are refused, and stay"],
    ],
    notes:
      `It takes the lock of the path first, so that no server can start there meanwhile. A socket that is in
use stays, and so does everything that is not a socket.`,
    parameters: {
      flags: COMMON,
      aliases: SHORT,
      positional: { kind: "array", parameter: PATH, minimum: 1 },
    },
    needs: async (_, ...paths) => (await import("./commands/rm.ts")).needs(paths),
    load: async () => (await import("./commands/rm.ts")).rm,
  }),

  run: command<RunFlags, [string, ...string[]]>({
    brief: "run a command on a socket of its own, with standard input and output",
    usage: "-- CMD [ARG...]",
    examples: [
      ["uds run -- python3 worker.py", "it has the socket at descriptor 3"],
      ["uds run --stdio -- sort < in", "it has the socket as its own input and output"],
    ],
    notes:
      `The socket has no path: nobody else can connect. What the command itself prints goes to standard
error. The exit code is the command's; it is 127 if there is no such command, and 126 if it cannot be
executed.
The first SIGTERM ends the command gracefully. A second one ends it at once, half a second later or
more.`,
    parameters: {
      flags: { stdio: flag("the socket is the command's standard input and output"), ...COMMON },
      aliases: SHORT,
      positional: {
        kind: "array",
        parameter: { parse: text, placeholder: "CMD", brief: "a program, and its arguments" },
        minimum: 1,
      },
    },
    needs: async (flags, name) =>
      permissions("pair", flags.stdio ? (await import("./io/stdio_child.ts")).SHELL : name),
    load: async () => (await import("./commands/run.ts")).run,
  }),

  send: command<SendFlags, [SocketPath, string?]>({
    brief: "send a message, and print the reply",
    usage: "PATH [MESSAGE]",
    examples: [
      ["uds send /tmp/echo.sock hello", "a message, as it is: without a newline"],
      ["date | uds send /tmp/echo.sock", "standard input"],
      ["uds send --wait /tmp/echo.sock hello", "when the server has started"],
      [
        "uds send --piece 16 /tmp/echo.sock hello",
        "in pieces of at most 16 bytes",
      ],
      [
        'uds send --framing u32be --hex --expect 1 "$SSH_AUTH_SOCK" 0b',
        "which keys has ssh-agent?",
      ],
    ],
    notes:
      `After the message it sends the end of file, and prints what comes until the other side ends. With
--expect it sends no end of file, and waits for COUNT messages, but no longer than --timeout. Where
--timeout is given, it also limits how long the other side may be silent; 0 limits only connecting.
${MESSAGES}`,
    parameters: {
      flags: { ...CONNECTING, piece: PIECE, ...FRAMING, expect: EXPECT, ...COMMON },
      aliases: { w: "timeout", ...SHORT },
      positional: {
        kind: "tuple",
        parameters: [PATH, {
          parse: text,
          placeholder: "MESSAGE",
          brief: "the message; without it, or with -, standard input",
          optional: true,
        }],
      },
    },
    needs: (_, path) => permissions("connect", path),
    load: async () => (await import("./commands/send.ts")).send,
  }),

  serve: command<ServeFlags, [string, string, ...string[]]>({
    brief: "serve a path with a process for each connection",
    usage: "PATH -- CMD [ARG...]",
    examples: [
      ["uds serve /tmp/upper.sock -- tr a-z A-Z", "a filter as a service"],
      ["uds serve --max 4 --idle 60 /tmp/app.sock -- ./app", "four at a time, none for ever"],
      ["uds serve --group staff /run/app.sock -- ./app", "for the members of a group"],
    ],
    notes:
      `The connection is the command's standard input and output (inetd); its standard error is shown. When
the client ends its direction, the command's input ends; when the command ends its output, the
connection is closed. Clients beyond --max wait. With --idle a connection is closed, and its process
ended, after that time without a byte in either direction. With --replace a running server that also
has --replace hands the path over, serves the clients that it has, and ends: no client is refused
meanwhile. The command has the environment of this one, and a session of its own. The connection ends
with the command, whatever that leaves running.
${ENDS}`,
    parameters: {
      flags: {
        max: MAX,
        replace: flag("take the path over from one that was started with --replace too"),
        idle: IDLE,
        ...OWNERSHIP,
        ...COMMON,
      },
      aliases: SHORT,
      positional: {
        kind: "array",
        parameter: {
          parse: text,
          placeholder: "PATH -- CMD",
          brief: "the path of the socket; a program, and its arguments",
        },
        minimum: 2,
      },
    },
    needs: async (flags, path) => (await import("./commands/serve.ts")).needs(flags, path),
    load: async () => (await import("./commands/serve.ts")).serve,
  }),

  tap: command<TapFlags, [Endpoint, Endpoint]>({
    brief: "a relay that shows what passes",
    usage: "LISTEN TARGET",
    examples: [
      ["uds tap /tmp/tap.sock /run/docker.sock", "then DOCKER_HOST=unix:///tmp/tap.sock docker ps"],
      ["uds tap --framing u32be --hex /tmp/tap.sock /tmp/agent.sock", "what ssh-agent is asked"],
      ["uds tap --framing lines /tmp/tap.sock tcp:127.0.0.1:6379", "a protocol of lines"],
      ["uds tap /tmp/tap.sock /run/app.sock | jq -r '.text // empty'", "for a script"],
    ],
    notes:
      `On a terminal it prints a line for each message: its time, the number of the connection, the direction
(→ to TARGET, ← to the client), its size and its text, whose lines stand below each other. Bytes that
are not text are shown as a dump; with --hex all are. Elsewhere, and with --json, it prints an object
for each message. Without --framing it shows what each read brought. From where a message cannot be
decoded it shows raw bytes. All bytes are passed on, but no descriptors (SCM_RIGHTS). --max, --idle and
--timeout are those of relay.
${ENDS}`,
    parameters: {
      flags: { ...FRAMING, ...RELAYING },
      aliases: { w: "timeout", ...SHORT },
      positional: { kind: "tuple", parameters: SIDES },
    },
    needs: async (flags, from, to) => (await import("./commands/relay.ts")).needs(flags, from, to),
    load: async () => (await import("./commands/tap.ts")).tap,
  }),
}));
