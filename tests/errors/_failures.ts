/** The failures of the calls that take a path, of all kinds. */

import {
  claim,
  connect,
  ConnectTimeout,
  InsecurePath,
  listen,
  NotASocket,
  NothingListening,
  probe,
  serve,
  SocketInUse,
  SocketNotFound,
} from "@uds/uds";
import { assertEquals, assertInstanceOf } from "@std/assert";
import { FullListener, makeStale, run } from "../_helpers.ts";
import { connectionFailures } from "./_connection_failures.ts";
import { errorOf } from "./_errors.ts";
import { aFile, aForeignServer, below, type Failure, handler, nothing, on } from "./_failure.ts";

const OWNING: Failure[] = ([
  ["claim", (path: string, options: object = {}) => claim(path, options)],
  ["listen", (path: string, options: object = {}) => listen({ path, ...options })],
  ["serve", (path: string, options: object = {}) => serve({ path, ...options }, handler)],
] as const).flatMap(([operation, own]): Failure[] => [
  {
    name: `${operation}() of a path that this package serves`,
    fail: on((path) => serve(path, handler), (path) => own(path)),
    is: SocketInUse,
    operation,
    code: "EADDRINUSE",
    says: "in use by this process",
    causedBy: null,
    fields: (error) => assertEquals(error.holder, Deno.pid),
  },
  {
    name: `${operation}() of a path that a foreign program serves`,
    fail: on(aForeignServer, (path) => own(path)),
    is: SocketInUse,
    operation,
    code: "EADDRINUSE",
    says: "a process that does not use its lock listens there",
    causedBy: null,
    fields: (error) => assertEquals(error.holder, undefined),
  },
  {
    name: `${operation}({ existing: "fail" }) over a dead socket`,
    fail: on(makeStale, (path) => own(path, { existing: "fail" })),
    is: SocketInUse,
    operation,
    code: "EADDRINUSE",
    says: "a socket is there already",
    causedBy: null,
  },
  {
    name: `${operation}() over a file`,
    fail: on(aFile, (path) => own(path)),
    is: NotASocket,
    operation,
    code: "ENOTSOCK",
    says: "it is a regular file, which was left untouched",
    causedBy: null,
  },
  {
    name: `${operation}() over a directory`,
    fail: on((path) => Deno.mkdir(path), (path) => own(path)),
    is: NotASocket,
    operation,
    code: "ENOTSOCK",
    says: "it is a directory",
    causedBy: null,
  },
  {
    name: `${operation}() in a directory that does not exist`,
    fail: on(nothing, (path) => own(below(path))),
    is: Deno.errors.NotFound,
    operation,
    at: below,
    code: "ENOENT",
    says: "its directory does not exist. Make it first",
    causedBy: "ENOENT",
  },
  {
    name: `${operation}() below a file`,
    fail: on(aFile, (path) => own(below(path))),
    is: Deno.errors.NotADirectory,
    operation,
    at: below,
    code: "ENOTDIR",
    says: "a part of the path is not a directory",
    causedBy: "ENOTDIR",
  },
  {
    name: `${operation}({ createDirectory: true }) below a file`,
    fail: on(aFile, (path) => own(below(path), { createDirectory: true })),
    is: Deno.errors.AlreadyExists,
    operation,
    at: below,
    code: "EEXIST",
    says: "Cannot create the directory of",
    causedBy: "EEXIST",
  },
  {
    name: `${operation}() with a symbolic link for a lock`,
    fail: on((path) => Deno.symlink(path, `${path}.lock`), (path) => own(path)),
    is: InsecurePath,
    operation,
    at: (path) => `${path}.lock`,
    code: "EPERM",
    says: "it is a symbolic link",
    causedBy: null,
  },
  {
    name: `${operation}({ verifyDirectory: true }) where others may write`,
    fail: on(
      (path) => Deno.chmod(path.slice(0, path.lastIndexOf("/")), 0o777),
      (path) => own(path, { verifyDirectory: true }),
    ),
    is: InsecurePath,
    operation,
    at: (path) => path.slice(0, path.lastIndexOf("/")),
    code: "EPERM",
    says: "others may write to it (mode 0777, no sticky bit)",
    causedBy: null,
  },
]);

export const FAILURES: Failure[] = [
  ...OWNING,
  {
    name: "claim() with a lock that holds something else",
    fail: on((path) => Deno.writeTextFile(`${path}.lock`, "data\n"), (path) => claim(path)),
    is: InsecurePath,
    operation: "claim",
    at: (path) => `${path}.lock`,
    code: "EPERM",
    says: "other content",
    causedBy: null,
  },
  {
    name: "bind() of a claimed path that a foreign program bound meanwhile",
    fail: async (_dir, path) => {
      await using claimed = await claim(path);
      using _foreign = aForeignServer(path);
      return await errorOf(() => claimed.bind(() => aForeignServer(path)));
    },
    is: SocketInUse,
    operation: "claim",
    code: "EADDRINUSE",
    says: "another process bound it",
    causedBy: "EADDRINUSE",
  },
  {
    name: "accept() of a listener that was closed",
    fail: async (_dir, path) => {
      const listener = await listen(path);
      await listener.close();
      return await errorOf(() => listener.accept());
    },
    is: Deno.errors.BadResource,
    operation: "accept",
    says: "Cannot accept on",
  },
  {
    name: "accept() of a listener that is closed meanwhile",
    fail: async (_dir, path) => {
      const listener = await listen(path);
      const [error] = await Promise.all([errorOf(() => listener.accept()), listener.close()]);
      return error;
    },
    is: Deno.errors.BadResource,
    operation: "accept",
    says: "the listener was closed",
  },

  {
    name: "connect() to nothing",
    fail: on(nothing, (path) => connect(path)),
    is: SocketNotFound,
    operation: "connect",
    code: "ENOENT",
    says: "there is no such file. Start the server first",
    causedBy: "ENOENT",
  },
  {
    name: "connect() to a dead socket",
    fail: on(makeStale, (path) => connect(path)),
    is: NothingListening,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "no server listens on it",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a file",
    fail: on(aFile, (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a regular file. Choose the path of a socket",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a directory",
    fail: on((path) => Deno.mkdir(path), (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a directory. Choose the path of a socket",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a fifo",
    fail: on((path) => run("mkfifo", [path]).then(() => {}), (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a fifo. Choose the path of a socket",
    causedBy: "ECONNREFUSED",
    needs: ["mkfifo"],
  },
  {
    name: "connect() below a file",
    fail: on(aFile, (path) => connect(below(path))),
    is: Deno.errors.NotADirectory,
    operation: "connect",
    at: below,
    code: "ENOTDIR",
    says: "a part of the path is not a directory",
    causedBy: "ENOTDIR",
  },
  {
    name: "connect() to a loop of symbolic links",
    fail: on((path) => Deno.symlink(path, path), (path) => connect(path)),
    is: Deno.errors.FilesystemLoop,
    operation: "connect",
    code: "ELOOP",
    says: "too many symbolic links",
    causedBy: "ELOOP",
  },
  {
    name: "connect({ timeout: 0 }) to a server that is full",
    fail: on((path) => FullListener.open(path), (path) => connect({ path, timeout: 0 })),
    is: Deno.errors.WouldBlock,
    operation: "connect",
    code: "EAGAIN",
    says: "its backlog is full",
    causedBy: "EAGAIN",
  },
  {
    name: "connect({ timeout }) to a server that stays full",
    fail: on((path) => FullListener.open(path), (path) => connect({ path, timeout: 20 })),
    is: ConnectTimeout,
    operation: "connect",
    code: "ETIMEDOUT",
    says: "no connection within 20 ms. The last attempt: Cannot connect to",
    causedBy: "EAGAIN",
    fields: (error) => assertInstanceOf(error.cause, Deno.errors.WouldBlock),
  },
  {
    name: "connect({ wait: true }) to a server that does not come",
    fail: on(nothing, (path) => connect({ path, wait: true, timeout: 20 })),
    is: ConnectTimeout,
    operation: "connect",
    code: "ETIMEDOUT",
    says: "there is no such file",
    causedBy: "ENOENT",
    fields: (error) => assertInstanceOf(error.cause, SocketNotFound),
  },
  {
    name: "connect({ owner }) to a socket of another user",
    fail: on(
      aForeignServer,
      (path) => connect({ path, owner: [(Deno.uid() as number) + 1, (Deno.uid() as number) + 2] }),
    ),
    is: InsecurePath,
    operation: "connect",
    code: "EPERM",
    says: `it belongs to uid ${Deno.uid()}`,
    causedBy: null,
  },
  {
    name: "connect({ owner }) to nothing",
    fail: on(nothing, (path) => connect({ path, owner: 0 })),
    is: SocketNotFound,
    operation: "connect",
    code: "ENOENT",
    says: "there is no such file",
    causedBy: "ENOENT",
  },

  {
    name: "probe() below a file",
    fail: on(aFile, (path) => probe(below(path))),
    is: Deno.errors.NotADirectory,
    operation: "probe",
    at: below,
    code: "ENOTDIR",
    says: "a part of the path is not a directory",
    causedBy: "ENOTDIR",
  },
  {
    name: "probe() of a loop of symbolic links",
    fail: on((path) => Deno.symlink(path, path), (path) => probe(path)),
    is: Deno.errors.FilesystemLoop,
    operation: "probe",
    code: "ELOOP",
    says: "too many symbolic links",
    causedBy: "ELOOP",
  },
  {
    name: "probe({ connect: false }) where only a connection can tell",
    fail: on(makeStale, (path) => probe(path, { connect: false })),
    is: Deno.errors.NotSupported,
    operation: "probe",
    says: "only a connection can tell",
    causedBy: null,
  },

  ...connectionFailures(),
  ...(Deno.build.os === "linux" ? abstractFailures() : []),
];

/** Returns the failures with abstract names. */
export function abstractFailures(): Failure[] {
  const name = `\0uds-${crypto.randomUUID()}`;
  return [
    {
      name: "listen() of an abstract name that is in use",
      fail: async () => {
        await using _listener = await listen(name);
        return await errorOf(() => listen(name));
      },
      is: SocketInUse,
      operation: "listen",
      at: () => name,
      code: "EADDRINUSE",
      says: "in use",
      causedBy: "EADDRINUSE",
    },
    {
      name: "connect() to an abstract name without a server",
      fail: () => errorOf(() => connect(name)),
      is: NothingListening,
      operation: "connect",
      at: () => name,
      code: "ECONNREFUSED",
      says: "no server listens on it. Start the server",
      causedBy: "ECONNREFUSED",
    },
  ];
}
