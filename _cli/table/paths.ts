/** The commands that look at paths. */

import { permissions } from "../../permissions.ts";
import { type Command, command } from "../parse/command.ts";
import { PATH, value } from "../parse/options.ts";
import { text } from "../parse/parameters.ts";

/** The commands, by name. */
export const PATHS: Readonly<Record<string, Command>> = {
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
it, and its process is named. Whether it answers is not known: a healthy server is "claimed" too. "stale"
means that such a program has ended without removing it. Other sockets are "unknown". With all
permissions (deno run -A jsr:@uds/uds/cli ls) it also reads the kernel's table, on Linux. Then a server's
socket is "listening", a datagram socket is "bound", and the process is named. Only root sees the
processes of other users.

With --probe it connects, which the servers notice, and prints a state of uds probe: a healthy server is
"alive", and "claimed" is one that does not answer. With --listeners it also connects to those that are
alive, and prints the process that began to listen. That needs --allow-ffi for libc.

With --all it prints the kernel's table: every socket of this network namespace that listens or
receives datagrams, with its type, and the name that it was bound to. @NAME is an abstract name. Mode and
owner are "-" if the name does not lead to the socket. Files that no socket belongs to are not listed.
That needs all permissions too.`,
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
    load: () => import("../commands/ls.ts"),
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

  alive 0       free 3    stale 4  claimed 5  full 5
  other-type 5  denied 6  not-a-socket 7

"claimed" means that a process holds the lock, and no server answers: it starts or stops.`,
    options: {},
    args: [PATH],
    needs: (_, path) => permissions("probe", path),
    load: () => import("../commands/probe.ts"),
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
    load: () => import("../commands/rm.ts"),
  }),
};
