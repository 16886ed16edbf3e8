/** The commands that are clients of a server, or run a program on a socket. */

import { permissions } from "../../permissions.ts";
import { needsOfType } from "../io/packet_needs.ts";
import { type Command, command } from "../parse/command.ts";
import { CONNECTING, EXCHANGING, FRAMING, PATH, PIECE, TYPE, value } from "../parse/options.ts";
import {
  CALL_FRAMINGS,
  duration,
  jsonValue,
  oneOf,
  positive,
  seconds,
  text,
} from "../parse/parameters.ts";
import { CMD, MESSAGES, PACKETS } from "./notes.ts";

/** What datagrams need to be answered: a name that the system chooses. */
const ANSWERED = { net: true } as const;

/** The commands, by name. */
export const CALLING: Readonly<Record<string, Command>> = {
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
bytes each has. Some servers close after each answer, and some answer only after the end of file. There
each request has a new connection. The first answer may take 2 seconds, and 2 more after an end of file.
A later one that takes 2 seconds is an error. Without --send that ends the measurement.`,
    options: {
      self: { brief: "serve the echo as well" },
      send: value(text, "TEXT", "send TEXT again and again, and measure the answers", "s"),
      clients: value(positive, "COUNT", "how many clients send at the same time (default 1)", "c"),
      ...FRAMING,
      seconds: value(duration, "SECONDS", "how long each measurement takes (default 1)"),
    },
    args: [{ ...PATH, isOptional: true }],
    load: () => import("../commands/bench.ts"),
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
the exit code is 1. If --timeout is given, it also limits how long the answer may take. With 0 it tries
to connect once, and the answer may take any time. With --notify it does not wait. For language servers,
use --framing content-length.`,
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
    load: () => import("../commands/call.ts"),
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
With --expect, --timeout also limits how long the messages may take.

${MESSAGES}

${PACKETS}
Datagrams have no end: the command ends when nothing has come for half a second after the input.`,
    options: { ...CONNECTING, ...TYPE, ...EXCHANGING },
    args: [PATH],
    needs: (flags, path) => needsOfType(flags, permissions("connect", path), ANSWERED),
    load: () => import("../commands/connect.ts"),
  }),

  replay: command({
    brief: "play one side of a recording, and compare what the other side sends",
    usage: "FILE PATH",
    examples: [
      ["uds replay app.jsonl /tmp/new.sock", "do what recorded clients did, to another server"],
      ["uds tap --output app.jsonl /tmp/tap.sock /run/app.sock", "record what clients do"],
      ["uds replay --connection 3 app.jsonl /tmp/new.sock", "one connection of several"],
      ["uds replay --listen app.jsonl /tmp/app.sock", "be the recorded server, for a client"],
    ],
    notes:
      `It connects for each connection of FILE, one after another, and sends what the client sent. Before each
step it waits until the server has sent as many bytes as in the recording. It stops if nothing comes
for --timeout. Each range of bytes that differs is a line on standard output, with its offset in the
answer of its connection. Bytes that the server did not take are another line, with their number. The exit code is 1 if anything differs. How reads split the bytes does not matter.

With --listen it serves PATH instead. Each client is answered as the next connection of FILE was, once
it has sent as many bytes. It exits with 0 when all connections were played. It exits with 1 at the first
byte that differs, or at a signal before that. --timeout limits the wait for a client, and for what the
client sends. A client that ends without a byte, such as uds probe, does not count if the recorded one
sent first.

FILE has an object on each line, which is what uds tap --json prints without --framing: connection,
event ("data" or "end"), direction ("to-target" or "to-client"), and text or hex. A "close" with a
reason means that the recorded connection failed. When it is played, the other side may close before it
has taken all bytes. All other events are ignored.`,
    options: {
      ...CONNECTING,
      timeout: value(
        seconds,
        "SECONDS",
        "how long to wait for the other side; 0: no limit (default 5; 0 with --listen)",
        "w",
      ),
      listen: { brief: "serve PATH as the recorded server, and compare what clients send" },
      connection: value(positive, "NUMBER", "play only this one"),
    },
    args: [value(text, "FILE", "a recording of uds tap --output; -: standard input"), PATH],
    load: () => import("../commands/replay.ts"),
  }),

  run: command({
    brief: "run a command on a new socket, with standard input and output",
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

The first SIGTERM ends the command gracefully. Further ones within half a second do nothing. After that,
another one ends it at once.`,
    options: {
      stdio: { brief: "the socket is the command's standard input and output" },
      ...TYPE,
    },
    args: [CMD],
    stopsEarly: true,
    load: () => import("../commands/run.ts"),
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
is given, it also limits how long the server may be silent. With 0 it tries to connect once, and the
server may be silent for any time. If the server sends nothing, it says so on standard error. Some
servers drop a client that sends the end of file. For them use --framing lines --expect 1, which sends
none.

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
    load: () => import("../commands/send.ts"),
  }),
};
