/**
 * The table of commands: options, arguments and help. Parsing, suggestions and completion use it.
 * The file of a command is loaded only when the command runs.
 */

import { permissions } from "../permissions.ts";
import { needsOfType } from "./io/packet_needs.ts";
import {
  CONNECTING,
  EXCHANGING,
  FRAMING,
  OWNERSHIP,
  PATH,
  PIECE,
  RELAYING,
  SIDES,
  TYPE,
  value,
  VERBOSE,
} from "./parse/options.ts";
import { type Argument, type Command, command, type CommonFlags } from "./parse/command.ts";
import type { Commands } from "./parse/command_line.ts";
import type { ManFlags } from "./commands/man.ts";
import { ACTIVATION, servingNeeds } from "./parse/activation.ts";
import { ownershipPermissions } from "./parse/ownership.ts";
import {
  CALL_FRAMINGS,
  duration,
  grants,
  jsonValue,
  names,
  oneOf,
  positive,
  seconds,
  type Shell,
  SHELLS,
  text,
  workers,
} from "./parse/parameters.ts";

/** What datagrams need to be answered: a name that the system chooses. */
const ANSWERED = { net: true } as const;
/** What it takes to answer any sender of datagrams. */
const ANSWERING = { read: true, write: true, net: true } as const;

const MESSAGES =
  `With --framing each line of the input is sent as a message, and each received message is printed as a
line, or with --json as an object with its size and its text. --hex is for binary messages: they are
written and printed in hexadecimal.`;

const PACKETS =
  `With --type dgram or seqpacket each line of the input is a packet, and each packet is printed as a line.
With --framing raw each read of the input is one, and packets are printed as they are (nc -uU, socat).
These types need --allow-ffi.`;

const ENDS =
  `The first Ctrl-C, SIGTERM or SIGHUP shuts it down gracefully and removes the path. A second one ends it
at once, unless it follows within half a second.
A socket that a service manager has opened for this process is served instead of PATH (LISTEN_FDS).`;

/** A command that another command runs. */
const CMD: Argument<string> & { isRepeated: true } = {
  ...value(text, "CMD", "a program, and its arguments"),
  noun: "command",
  isRepeated: true,
};

const TABLE: Readonly<Record<string, Command>> = {
  activate: command({
    brief: "start a server when its first client connects",
    usage: "PATH -- CMD [ARG...]",
    examples: [
      ["uds activate /tmp/app.sock -- deno run -A main.ts", "a service that takes LISTEN_FDS"],
      [
        "uds activate /tmp/echo.sock -- uds echo --systemd /tmp/echo.sock",
        "another command of uds",
      ],
    ],
    notes:
      `It owns the path and never accepts. When a client connects, CMD starts with the listening socket at
descriptor 3, which is in non-blocking mode, and with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. After
CMD has ended, the next client starts it again, and clients wait meanwhile. If CMD fails, it waits before
the next start, longer each time, and after 8 failures in a row it ends. At the end CMD gets SIGTERM,
and 5 seconds later SIGKILL.`,
    options: {
      name: value(text, "NAME", "the name of the descriptor (default activate)"),
      ...OWNERSHIP,
    },
    args: [PATH, CMD],
    load: () => import("./commands/activate.ts"),
  }),

  bench: command({
    brief: "measure an echo server, or with --send any server",
    usage: "PATH | --self",
    examples: [
      ["uds bench --self", "this package with itself, in one process"],
      ["uds bench /tmp/echo.sock", "an echo server: uds echo, socat, or your own"],
      ["uds bench --send PING --framing lines /run/redis.sock", "any server, with any request"],
      ["uds bench --send $'GET / HTTP/1.0\\r\\n\\r\\n' /run/app.sock", "one over HTTP"],
      ["uds bench --json --seconds 5 /tmp/echo.sock", "for a script"],
    ],
    notes:
      `It makes three measurements of --seconds each, after a fifth of that to warm up: round trips of 64
bytes, one after another; bytes in bulk, there and back; messages of 64 bytes with a length prefix,
1,024 of them in flight. With --self, the echo and the measurement share one process.
With --send it sends TEXT to any server, waits for the answer, and sends it again: the rate, how long
answers take (median, 99 % and longest), and the errors. The exit code is 1 if there were errors. With
--framing an answer is one message. Without it the first answer, up to a pause of 50 ms, shows how many
bytes each has. If the server ends after it, or answers at the end of file only, each request has a
connection of its own. An answer that takes 2 seconds is an error.`,
    options: {
      self: { brief: "serve the echo as well" },
      send: value(text, "TEXT", "send TEXT again and again, and measure the answers", "s"),
      clients: value(positive, "COUNT", "how many clients send at the same time (default 1)", "c"),
      ...FRAMING,
      seconds: value(duration, "SECONDS", "how long each measurement takes (default 1)"),
    },
    args: [{ ...PATH, isOptional: true }],
    load: () => import("./commands/bench.ts"),
  }),

  call: command({
    brief: "call a method of a JSON-RPC server, and print the result",
    usage: "PATH METHOD [JSON...]",
    examples: [
      ["uds call /tmp/app.sock status", "without parameters"],
      [`uds call /tmp/app.sock add '{"a":1,"b":2}'`, "an object: parameters by name"],
      ["uds call /tmp/app.sock add 1 2", "several values: parameters by position"],
      [`uds call /tmp/app.sock greet '"Ada"'`, "a text needs its own quotes"],
      ["uds call --notify /tmp/app.sock reload", "a notification, which has no answer"],
    ],
    notes:
      `It calls one method by JSON-RPC 2.0. The result is a line of JSON. A single object or array is the
parameters themselves. An error of the method goes to standard error, with its code and its data, and
the exit code is 1. If --timeout is given, it also limits how long the answer may take. 0 limits only
connecting. With --notify it does not wait. For language servers, use --framing content-length.`,
    options: {
      ...CONNECTING,
      notify: { brief: "send a notification, which gets no answer" },
      framing: {
        ...value(oneOf(CALL_FRAMINGS), "KIND", `lines by default: ${CALL_FRAMINGS.join(", ")}`),
        values: CALL_FRAMINGS,
      },
    },
    args: [PATH, value(text, "METHOD", "the name of the method"), {
      ...value(jsonValue, "JSON", "the parameters"),
      isOptional: true,
      isRepeated: true,
    }],
    needs: (_, path) => permissions("connect", path),
    load: () => import("./commands/call.ts"),
  }),

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

  connect: command({
    brief: "connect to a path, with standard input and output",
    usage: "PATH",
    examples: [
      ["uds connect /tmp/chat.sock", "type messages, read replies"],
      ["uds connect /tmp/store.sock < in > out", "send a file, and save the reply"],
      ["uds connect --wait --timeout 30 /tmp/app.sock", "as soon as its server has started"],
      ["uds connect --type seqpacket /tmp/packets.sock", "a packet for each line"],
    ],
    notes:
      `It sends the input and its end, and prints what the server sends until the server ends (nc -U -N). If
the server ends only its own direction, the input is still sent. If the server closes, the command ends.
${MESSAGES}
${PACKETS}
Datagrams have no end: the command ends when nothing has come for half a second after the input.`,
    options: { ...CONNECTING, ...TYPE, ...EXCHANGING },
    args: [PATH],
    needs: (flags, path) => needsOfType(flags, permissions("connect", path), ANSWERED),
    load: () => import("./commands/connect.ts"),
  }),

  echo: command({
    brief: "serve an echo",
    usage: "PATH",
    examples: [
      ["uds echo /tmp/echo.sock", "for clients of this user"],
      ["uds echo --mode 660 /tmp/echo.sock", "and of its group"],
      ["uds echo --piece 16 /tmp/echo.sock", "at most 16 bytes at a time, each printed"],
      ["uds echo --type seqpacket /tmp/echo.sock", "packets, each sent back whole"],
    ],
    notes: ENDS,
    options: { mode: OWNERSHIP.mode, piece: PIECE, ...TYPE, ...ACTIVATION, ...VERBOSE },
    args: [PATH],
    needs: (flags, path) =>
      needsOfType(flags, servingNeeds(path, flags, ownershipPermissions(flags)), ANSWERING),
    load: () => import("./commands/echo.ts"),
  }),

  listen: command({
    brief: "serve a path, with standard input and output",
    usage: "PATH",
    examples: [
      ["uds listen /tmp/chat.sock", "chat with the first client"],
      ["uds listen /tmp/store.sock > out", "receive a file"],
      ["uds listen --keep /tmp/log.sock < /dev/null >> log", "one client after another"],
      ["uds listen --type dgram --mode 666 /tmp/log", "what logger -u /tmp/log sends"],
    ],
    notes:
      `It serves one client (nc -lU), or with --keep one after another, while the others wait. Input goes to
the client that is connected when it is read. Once the input has ended, later clients get its end.
${MESSAGES}
${PACKETS}
With --type dgram it receives from every sender, and the input goes to the last one that has a name.
${ENDS}`,
    options: {
      keep: { brief: "continue with the next client", letter: "k" },
      timeout: value(seconds, "SECONDS", "how long to wait for a client (default: no limit)", "w"),
      mode: OWNERSHIP.mode,
      ...TYPE,
      ...ACTIVATION,
      ...EXCHANGING,
    },
    args: [PATH],
    needs: (flags, path) =>
      needsOfType(flags, servingNeeds(path, flags, ownershipPermissions(flags))),
    load: () => import("./commands/listen.ts"),
  }),

  ls: command({
    brief: "list sockets and the processes that hold them",
    usage: "[DIR...]",
    examples: [
      ["uds ls", "those of this user, and those below /run"],
      ["uds ls /tmp /var/run/app", "those in some directories"],
      ["uds ls --probe /run/app", "and whether a server listens: by connecting"],
      ["uds ls --all", "all sockets of the system, abstract names too (Linux)"],
      ["uds ls --json | jq -r '.[].path'", "for a script"],
    ],
    notes:
      `Without DIR it lists all sockets below $XDG_RUNTIME_DIR (or $TMPDIR/uds-UID, or /tmp/uds-UID) and below
/run. It stays on the file system of a directory, and does not follow symbolic links in it.

A file with a name that is not UTF-8 is reported and left out: Deno cannot name it.

The state comes from the lock beside a socket: "claimed" means that a program with this package holds
it, and its process is named. "stale" means that such a program has ended without removing it. Other
sockets are "unknown", unless the kernel's table can be read: then those of every program are
"listening" or "bound" (datagrams), and their process is named. That needs all permissions (-A),
because Deno shows /proc to no other process, and root for the processes of other users.
With --probe it connects, which the servers notice, and prints "alive", "full", "stale", "denied" or
"other-type". With --listeners it also connects to those that are alive, and prints the process that
called listen, as the kernel noted it. That needs --allow-ffi for libc.
With --all it prints the kernel's table: every socket of this network namespace that listens or
receives datagrams, with its type, and the name that it was bound to. @NAME is an abstract name. Files
that no socket belongs to are not listed. That needs all permissions too.`,
    options: {
      all: { brief: "list the sockets of the whole system, as the kernel does", letter: "a" },
      probe: { brief: "connect, to see whether a server listens", letter: "p" },
      listeners: { brief: "connect, and name the process that listens" },
      recursive: { brief: "also below the directories", letter: "R" },
    },
    args: [{
      ...value(text, "DIR", "a directory, or a socket"),
      isOptional: true,
      isRepeated: true,
    }],
    load: () => import("./commands/ls.ts"),
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

  probe: command({
    brief: "print the state of a path",
    usage: "PATH",
    examples: [
      ["uds probe /run/app.sock", "alive, stale, free ..."],
      ["uds probe -q /run/app.sock && echo up", "by the exit code alone"],
      ["uds probe --json /run/app.sock", "with mode, owner, and the process that holds it"],
    ],
    notes:
      `It connects, and closes again at once, which the server notices. With --quiet it prints nothing. The
exit code shows the state too:

  alive 0        free 3     stale 4   claimed 5    full 5
  other-type 5   denied 6   not-a-socket 7`,
    options: {},
    args: [PATH],
    needs: (_, path) => permissions("probe", path),
    load: () => import("./commands/probe.ts"),
  }),

  relay: command({
    brief: "relay every connection from one address to another",
    usage: "LISTEN TARGET",
    examples: [
      ["uds relay unix:/tmp/db.sock tcp:db.example:5432", "a remote service as a local path"],
      ["uds relay tcp:127.0.0.1:2375 unix:/run/app.sock", "a local path as a port"],
      ["uds relay unix:/tmp/app.sock tls:app.example:8443", "encrypted on its way"],
      ["uds relay --cert c.pem --key k.pem tls:0.0.0.0:8443 unix:/run/app.sock", "its other end"],
      [
        "uds relay --cert c.pem --key k.pem --client-ca ca.pem tls:0.0.0.0:8443 unix:/run/app.sock",
        "for clients with a certificate",
      ],
    ],
    notes:
      `It serves many connections. Clients beyond --max wait. With --idle a connection is closed after that
time without a byte in either direction. When one direction ends, its end is relayed, and the other
direction continues. Data that a side sent before it failed arrives. TARGET is tried again for --timeout
while no server listens there. Descriptors that a program sends (SCM_RIGHTS), as tmux and Wayland clients
do, are dropped unless --descriptors is given. With --allow-ffi for libc, uds relay then says so once a
connection, unless the connection is busy all the time, and uds tap shows all of them.
A port has no owner and no mode: every client that reaches it is accepted. tls: encrypts, and verifies
the server. With --client-ca it accepts only clients that have a certificate of that authority, which
the relay of their side shows with --cert and --key. It knows no revoked certificates: HAProxy and nginx
do. (A self-signed certificate of a server must have the server's name, and basicConstraints=CA:FALSE.)
If you have an account, ssh -L and -R forward sockets.
${ENDS}`,
    options: RELAYING,
    args: SIDES,
    load: () => import("./commands/relay.ts"),
  }),

  replay: command({
    brief: "play the clients of a recording, and compare the answers",
    usage: "FILE PATH",
    examples: [
      ["uds tap --output app.jsonl /tmp/tap.sock /run/app.sock", "record what clients do"],
      ["uds replay app.jsonl /tmp/new.sock", "do the same to another server"],
      ["uds replay --connection 3 app.jsonl /tmp/new.sock", "one connection of several"],
    ],
    notes:
      `It connects for each connection of FILE, one after another, and sends what the client sent. Before it
goes on, it waits for as many bytes as the server had answered by then, at most --timeout. Each range of
bytes that differs is a line on standard output, with its offset in the answer of its connection. The
exit code is 1 if anything differs. How reads split the bytes does not matter.
FILE has an object on each line, which is what uds tap --json prints: connection, event ("data" or
"end"), direction ("to-target" or "to-client"), and text or hex. Other events are not played.`,
    options: {
      ...CONNECTING,
      connection: value(positive, "NUMBER", "play only this one"),
    },
    args: [value(text, "FILE", "a recording of uds tap --output"), PATH],
    load: () => import("./commands/replay.ts"),
  }),

  rm: command({
    brief: "remove stale sockets",
    usage: "PATH...",
    examples: [
      ["uds rm /tmp/app.sock", "what a killed server left behind"],
      ["uds rm /tmp/*.sock", "the stale ones: others are refused, and stay"],
    ],
    notes:
      `It takes the lock of the path first, so no server can start there meanwhile. A socket in use is not
removed, nor is any other kind of file.`,
    options: {},
    args: [{ ...PATH, isRepeated: true }],
    load: () => import("./commands/rm.ts"),
  }),

  run: command({
    brief: "run a command on a socket of its own, with standard input and output",
    usage: "-- CMD [ARG...]",
    examples: [
      ["uds run -- python3 worker.py", "it has the socket at descriptor 3"],
      ["uds run --stdio -- sort < in", "it has the socket as its own input and output"],
      ["uds run --type seqpacket -- ./worker", "it gets each line as a packet"],
    ],
    notes:
      `The socket has no path: no other process can connect. What the command itself prints goes to standard
error. The exit code is the command's. It is 127 if the command does not exist, and 126 if it cannot be
executed.
With --type dgram or seqpacket each line of the input is a packet, and each packet is printed as a line.
The first SIGTERM ends the command gracefully. A second one ends it at once, unless it follows within
half a second.`,
    options: {
      stdio: { brief: "the socket is the command's standard input and output" },
      ...TYPE,
    },
    args: [CMD],
    stopsEarly: true,
    load: () => import("./commands/run.ts"),
  }),

  send: command({
    brief: "send a message, and print the reply",
    usage: "PATH [MESSAGE]",
    examples: [
      ["uds send /tmp/echo.sock hello", "a message, as it is: without a newline"],
      ["uds send --line /run/haproxy.sock 'show info'", "a line, for a protocol of lines"],
      ["date | uds send /tmp/echo.sock", "standard input"],
      ["uds send --wait /tmp/echo.sock hello", "as soon as the server has started"],
      ["uds send --piece 16 /tmp/echo.sock hello", "read at most 16 bytes at a time"],
      ["uds send --type dgram /tmp/log '<14>app: it works'", "a line for a log"],
      ['uds send --framing u32be --hex --expect 1 "$SSH_AUTH_SOCK" 0b', "list ssh-agent's keys"],
    ],
    notes:
      `After the message it sends the end of file, and prints what the server sends until the server ends.
With --expect it sends no end of file, and waits for COUNT messages, at most for --timeout. If --timeout
is given, it also limits how long the server may be silent; 0 limits only connecting. If the server
sends nothing, it says so on standard error. If a server of lines takes the end of file for a client
that left, use --framing lines --expect 1 instead of --line.
${MESSAGES}
With --type dgram or seqpacket MESSAGE is one packet, and so is all of standard input. With --framing
lines each line is one, and with raw each read. Datagrams have no end: it prints what comes until
nothing has come for half a second, or for --timeout. Both types need --allow-ffi.`,
    options: {
      ...CONNECTING,
      line: { brief: "end MESSAGE with a newline", letter: "l" },
      piece: PIECE,
      ...TYPE,
      ...EXCHANGING,
    },
    args: [PATH, {
      ...value(text, "MESSAGE", "the message; without it, or with -, standard input"),
      isOptional: true,
    }],
    needs: (flags, path) => needsOfType(flags, permissions("connect", path), ANSWERED),
    load: () => import("./commands/send.ts"),
  }),

  serve: command({
    brief: "serve a path with a process per connection, a reply, or a module",
    usage: "PATH [-- CMD [ARG...]]",
    examples: [
      ["uds serve /tmp/upper.sock -- tr a-z A-Z", "a filter as a service"],
      ["uds serve --max 4 --idle 60 /tmp/app.sock -- ./app", "at most four, none idle for long"],
      ["uds serve --group staff /run/app.sock -- ./app", "for the members of a group"],
      ["uds serve --allow-user ada,root --peer-env /run/app.sock -- ./app", "for two users"],
      ["uds serve --reply pong /tmp/ping.sock", "a stand-in: pong to each request"],
      [`uds serve --framing lines --reply '{"ok":true}' /tmp/app.sock`, "JSON to each line"],
      ["uds serve --framing lines --reply-file ok.json /tmp/app.sock", "to each message"],
      ["uds serve --module app.ts --workers 2 /tmp/app.sock", "a module that exports fetch"],
    ],
    notes:
      `The connection is the command's standard input and output (inetd); its standard error is shown. When
the client ends its direction, the command's input ends; when the command ends its output, the
connection is closed. Clients beyond --max wait. With --idle a connection is closed, and its process
ended, after that time without a byte in either direction. With --replace a running server that also
has --replace hands over the path, serves its remaining clients, and ends: no client is refused
meanwhile. The command has the environment of uds, and a session of its own. The connection ends with
the command, even if processes that it started continue.
With --reply or --reply-file it runs no command, and sends the same reply to each message of --framing.
Without --framing, a request ends at a pause of 50 ms, or at the end of file. With --hex, TEXT or FILE
is in hexadecimal. With --framing lines, a newline at the end of FILE is not part of the reply.
With --allow-user or --allow-group the kernel identifies each client. It is served if its user or one
of its groups is listed; the owner of the socket file is not by itself. The default mode is then 666:
any user may connect, and is closed unless listed. --mode 660 --group NAME keeps all others out.
With --peer-env the command has UDS_PEER_PID, UDS_PEER_UID and UDS_PEER_GID: the client as it was when
it connected. These three options need --allow-ffi for libc.
With --module it runs FILE in --workers processes, which accept clients themselves. FILE exports fetch,
as for deno serve, or connection, which gets each connection. It runs in a sandbox: it may read its own
directory, and what --allow adds, such as "read=/data,/etc net=db:5432 env". A process that ends is
replaced. --max and --idle count in each process. SIGHUP loads the module again, and refuses no client.
SIGUSR1 prints the connections of each process. The socket of a service manager is not used.
${ENDS}`,
    options: {
      reply: value(text, "TEXT", "send TEXT to each request or message, instead of running CMD"),
      "reply-file": value(text, "FILE", "send what FILE contains"),
      ...FRAMING,
      max: RELAYING.max,
      replace: { brief: "take over the path from a server that was started with --replace too" },
      idle: RELAYING.idle,
      ...OWNERSHIP,
      ...ACTIVATION,
      "allow-user": value(names, "NAMES", "serve only clients of these users, names or numbers"),
      "allow-group": value(names, "NAMES", "serve only clients of these groups"),
      "peer-env": { brief: "describe the client in the environment of CMD" },
      module: value(text, "FILE", "run a module that exports fetch or connection, in a sandbox"),
      workers: value(workers, "COUNT", "how many processes run the module (default 1)"),
      allow: value(grants, "LIST", "what the module may do: KIND or KIND=VALUES, with spaces"),
      ...VERBOSE,
    },
    args: [PATH, { ...CMD, isOptional: true }],
    load: () => import("./commands/serve.ts"),
  }),

  tap: command({
    brief: "a relay that shows what passes",
    usage: "LISTEN TARGET",
    examples: [
      ["uds tap /tmp/tap.sock /run/docker.sock", "then DOCKER_HOST=unix:///tmp/tap.sock docker ps"],
      ["uds tap --framing u32be --hex /tmp/tap.sock /tmp/agent.sock", "the requests to ssh-agent"],
      ["uds tap --framing lines /tmp/tap.sock tcp:127.0.0.1:6379", "a protocol of lines"],
      ["uds tap --output app.jsonl /tmp/tap.sock /run/app.sock", "record it, for uds replay"],
      ["uds tap /tmp/tap.sock /run/app.sock | jq -r '.text // empty'", "for a script"],
    ],
    notes:
      `On a terminal it prints a line for each message: its time, the number of the connection, an arrow (to
the right: to TARGET), its size and its text, line below line. Bytes that are not text are
shown as a dump; with --hex all are. Elsewhere, and with --json, it prints an object for each message.
Without --framing it shows what each read returned. After a message that it cannot decode it shows raw
bytes. Descriptors (SCM_RIGHTS) are passed on with --descriptors. Otherwise they are dropped, and shown
if it has --allow-ffi for libc. --max, --idle and --timeout are those of
relay. With --peer it shows the process, user and groups of each client, as the kernel noted them when
it connected. That needs --allow-ffi for libc. With --output it writes what passes to FILE, which only
its owner may read: each read as it was, whatever --framing is.
${ENDS}`,
    options: {
      ...FRAMING,
      ...RELAYING,
      peer: { brief: "show the process of each client of a path" },
      output: value(text, "FILE", "also record the bytes of each read in FILE, as JSON lines", "o"),
    },
    args: SIDES,
    load: () => import("./commands/tap.ts"),
  }),
};

/** The commands, by name. */
export const COMMANDS: Commands = new Map(Object.entries(TABLE));
