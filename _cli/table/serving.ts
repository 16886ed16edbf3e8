/** The commands that serve a path. */

import { needsOfType } from "../io/packet_needs.ts";
import { ACTIVATION, servingNeeds } from "../parse/activation.ts";
import { type Command, command } from "../parse/command.ts";
import {
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
} from "../parse/options.ts";
import { ownershipPermissions } from "../parse/ownership.ts";
import {
  descriptorName,
  file,
  grants,
  names,
  seconds,
  text,
  workers,
} from "../parse/parameters.ts";
import { CMD, MESSAGES, PACKETS } from "./notes.ts";

/** What it takes to answer any sender of datagrams. */
const ANSWERING = { read: true, write: true, net: true } as const;

/** Returns how a server ends, by which signals, and where its socket may come from. */
const endsBy = (signals: string) =>
  `The first ${signals} shuts it down gracefully and removes the path. Further ones within
half a second do nothing. After that, another one ends it at once.

A socket that a service manager has opened for this process is served instead of PATH (LISTEN_FDS).`;

const ENDS = endsBy("Ctrl-C, SIGTERM or SIGHUP");

/** The commands, by name. */
export const SERVING: Readonly<Record<string, Command>> = {
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
      name: value(descriptorName, "NAME", "the name of the descriptor (default activate)"),
      ...OWNERSHIP,
    },
    args: [PATH, CMD],
    load: () => import("../commands/activate.ts"),
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
    load: () => import("../commands/echo.ts"),
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
the client that is connected when uds reads it. Once the input has ended, later clients get only the
end of file.

${MESSAGES}

${PACKETS}

With --type dgram it receives from every sender, and the input goes to the last one that has a name.

${ENDS}`,
    options: {
      keep: { brief: "continue with the next client", letter: "k" },
      timeout: value(
        seconds,
        "SECONDS",
        "how long to wait for a client (default 0: no limit)",
        "w",
      ),
      mode: OWNERSHIP.mode,
      ...TYPE,
      ...ACTIVATION,
      ...EXCHANGING,
    },
    args: [PATH],
    needs: (flags, path) =>
      needsOfType(flags, servingNeeds(path, flags, ownershipPermissions(flags))),
    load: () => import("../commands/listen.ts"),
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
do, are dropped unless --descriptors is given. With --allow-ffi for libc, uds relay reports each
connection on which it dropped descriptors. On a connection that is always busy it may miss them.
uds tap shows all of them.

A port has no owner and no mode: every client that reaches it is accepted. tls: encrypts, and verifies
the server. With --client-ca it accepts only clients that have a certificate of that authority, which
the relay of their side shows with --cert and --key. It knows no revoked certificates: HAProxy and nginx
do. (A self-signed certificate of a server must have the server's name, and basicConstraints=CA:FALSE.)
If you have an account, ssh -L and -R forward sockets.

${ENDS}`,
    options: RELAYING,
    args: SIDES,
    load: () => import("../commands/relay.ts"),
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
meanwhile. The command has the environment of uds, and a new session. The connection ends with
the command, even if processes that it started continue.

With --reply or --reply-file it runs no command, and sends the same reply to each message of --framing.
Without --framing, a request ends at a pause of 50 ms, or at the end of file. With --hex, TEXT or FILE
is in hexadecimal. With --framing lines, a newline at the end of FILE is not part of the reply.

With --allow-user or --allow-group the kernel identifies each client. It is served if its user or one
of its groups is listed. The owner of the socket file must be listed too. The default mode is then 666:
any user may connect, and is closed unless listed. --mode 660 --group NAME keeps all others out.

With --peer-env the command has UDS_PEER_PID, UDS_PEER_UID and UDS_PEER_GID: the client as it was when
it connected. --allow-user, --allow-group and --peer-env need --allow-ffi for libc.

With --module it runs FILE in --workers processes, which accept clients themselves. FILE exports fetch,
as for deno serve, or connection, which gets each connection. It runs in a sandbox: it may read its own
directory, and what --allow adds, such as "read=/data,/etc net=db:5432 env". Without --config it has no
deno.json: --config adds the imports of one. A process that ends is replaced. --max and --idle count in
each process. SIGUSR2 prints the connections of each process.
SIGHUP loads the module again, and no client is refused meanwhile.

${endsBy("Ctrl-C or SIGTERM (or SIGHUP, without --module)")}`,
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
      module: value(file, "FILE", "run a module that exports fetch or connection, in a sandbox"),
      workers: value(workers, "COUNT", "how many processes run the module (default 1)"),
      allow: value(grants, "LIST", "what the module may do: KIND or KIND=VALUES, with spaces"),
      config: value(file, "FILE", "the deno.json with the imports of the module"),
      ...VERBOSE,
    },
    args: [PATH, { ...CMD, isOptional: true }],
    load: () => import("../commands/serve.ts"),
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
it connected. That needs --allow-ffi for libc. With --output it writes what passes to FILE: each read as
it was, whatever --framing is. Only the owner of FILE may read it: an older file gets mode 0600, too.

${ENDS}`,
    options: {
      ...FRAMING,
      ...RELAYING,
      peer: { brief: "show the process of each client of a path" },
      output: value(text, "FILE", "also record the bytes of each read in FILE, as JSON lines", "o"),
    },
    args: SIDES,
    load: () => import("../commands/tap.ts"),
  }),
};
