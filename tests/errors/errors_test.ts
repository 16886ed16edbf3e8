import {
  claim,
  connect,
  ConnectDenied,
  ConnectionClosed,
  ConnectTimeout,
  InsecurePath,
  isSocketError,
  listen,
  MessageTooLarge,
  NotASocket,
  NothingListening,
  probe,
  relay,
  runtimePath,
  serve,
  SocketInUse,
  SocketNotFound,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import {
  encode,
  fixture,
  FullListener,
  makeStale,
  readText,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

/** An error with everything that one of this package may have. */
type AnyError = Error & Record<string, unknown>;

/** What an operation rejects with. */
async function errorOf(call: () => unknown): Promise<AnyError> {
  try {
    await call();
  } catch (error) {
    return error as AnyError;
  }
  throw new Error("It did not fail");
}

// ---- The classes ------------------------------------------------------------------------------------

const CAUSE = Object.assign(new Error("the cause"), { code: "EIO" });
const FIELDS = { operation: "connect", path: "/run/s.sock" };

const CLASSES = [
  ["SocketInUse", SocketInUse, Deno.errors.AddrInUse, "EADDRINUSE"],
  ["NotASocket", NotASocket, Error, "ENOTSOCK"],
  ["NothingListening", NothingListening, Deno.errors.ConnectionRefused, "ECONNREFUSED"],
  ["SocketNotFound", SocketNotFound, Deno.errors.NotFound, "ENOENT"],
  ["ConnectDenied", ConnectDenied, Deno.errors.PermissionDenied, "EACCES"],
  ["ConnectTimeout", ConnectTimeout, Deno.errors.TimedOut, "ETIMEDOUT"],
  ["InsecurePath", InsecurePath, Deno.errors.PermissionDenied, "EPERM"],
  ["ConnectionClosed", ConnectionClosed, Deno.errors.BadResource, undefined],
  ["MessageTooLarge", MessageTooLarge, RangeError, "EMSGSIZE"],
  ["TruncatedMessage", TruncatedMessage, Deno.errors.UnexpectedEof, undefined],
] as const;

for (const [name, Class, Base, code] of CLASSES) {
  test(`${name} is an error of Deno's class ${Base.name}, with a name of its own`, () => {
    const error = new Class("Cannot do it", FIELDS);
    assertInstanceOf(error, Class);
    assertInstanceOf(error, Base);
    assertInstanceOf(error, Error);
    assertEquals(error.name, name);
    assertEquals(String(error), `${name}: Cannot do it`);
    assert(error.stack?.startsWith(`${name}: Cannot do it`), error.stack);
    assert(Object.prototype.toString.call(error) === "[object Error]");
  });

  test(`${name} has operation, path and code, and no cause where there is none`, () => {
    const error = new Class("Cannot do it", FIELDS);
    assertEquals([error.operation, error.path, error.code], ["connect", "/run/s.sock", code]);
    assertEquals("cause" in error, false);
    assertEquals("code" in error, code !== undefined);
    assert(isSocketError(error));
  });

  test(`${name} takes the code of its cause, and a given one before that`, () => {
    const caused = new Class("Cannot do it", { ...FIELDS, cause: CAUSE });
    assertEquals(caused.cause, CAUSE);
    // The time that is over is our own: the cause is only the last refusal.
    const own = name === "ConnectTimeout" ? "ETIMEDOUT" : undefined;
    assertEquals(caused.code, own ?? "EIO");
    const given = new Class("Cannot do it", { ...FIELDS, cause: CAUSE, code: "EPIPE" });
    assertEquals(given.code, own ?? "EPIPE");
  });

  test(`${name} takes a cause that is no error`, () => {
    const error = new Class("Cannot do it", { ...FIELDS, cause: null });
    assertEquals([error.cause, error.code], [null, code]);
  });
}

test("the classes are told apart by instanceof", () => {
  for (const [name, Class] of CLASSES) {
    const error = new Class("Cannot do it", FIELDS);
    const kin = CLASSES.filter(([, Other]) => error instanceof Other).map(([other]) => other);
    assertEquals(kin, [name]);
  }
});

test("MessageTooLarge has the size and the limit", () => {
  const { size, limit } = new MessageTooLarge("Cannot do it", { ...FIELDS, size: 5, limit: 4 });
  assertEquals([size, limit], [5, 4]);
});

test("TruncatedMessage has the rest, which is not printed", () => {
  const rest = encode("half");
  const error = new TruncatedMessage("Cannot do it", { ...FIELDS, rest });
  assertEquals(error.rest, rest);
  assert(!Deno.inspect(error).includes("rest"));
});

test("SocketInUse has the holder, undefined where it is not known", () => {
  assertEquals(new SocketInUse("Cannot do it", { ...FIELDS, holder: 42 }).holder, 42);
  assertEquals(new SocketInUse("Cannot do it", FIELDS).holder, undefined);
});

test("ConnectDenied has the mode, the user and the group that refused", () => {
  const { mode, uid, gid } = new ConnectDenied("Cannot do it", {
    ...FIELDS,
    mode: 0o600,
    uid: 1,
    gid: 2,
  });
  assertEquals([mode, uid, gid], [0o600, 1, 2]);
  const unknown = new ConnectDenied("Cannot do it", FIELDS);
  assertEquals([unknown.mode, unknown.uid, unknown.gid], [undefined, undefined, undefined]);
});

test("ConnectionClosed has what was not sent, and of a read nothing", () => {
  const unsent = encode("rest");
  assertEquals(new ConnectionClosed("Cannot do it", { ...FIELDS, unsent }).unsent, unsent);
  assertEquals(new ConnectionClosed("Cannot do it", FIELDS).unsent, undefined);
  assertEquals(new ConnectionClosed("Cannot do it", { operation: "read", path: null }).path, null);
});

for (
  const [name, value, expected] of [
    ["an error with operation and path", Object.assign(new Error(), FIELDS), true],
    ["one whose path is null", Object.assign(new Error(), { operation: "x", path: null }), true],
    ["a plain error", new Error("no"), false],
    ["an error with an operation only", Object.assign(new Error(), { operation: "x" }), false],
    ["an error of Deno's", new Deno.errors.NotFound("no"), false],
    ["an object that looks like one", { ...FIELDS, message: "no" }, false],
    ["null", null, false],
    ["undefined", undefined, false],
    ["a string", "operation path", false],
  ] as const
) {
  test(`isSocketError() is ${expected} for ${name}`, () => {
    assertEquals(isSocketError(value), expected);
  });
}

// ---- Real failures, one shape -----------------------------------------------------------------------

/** A failure of the system that a function of this package must tell in the one shape. */
interface Failure {
  name: string;
  /** Makes it fail in a directory whose file `s.sock` is the path. */
  fail: (dir: TempDir, path: string) => Promise<AnyError>;
  /** The class, and one of Deno's or of ours that it is an instance of. */
  // deno-lint-ignore no-explicit-any -- a constructor with any parameters
  is: abstract new (...args: any[]) => Error;
  operation: string;
  /** A part of the message. */
  says: string;
  code?: string;
  /** The code of the cause, `null` where there must be none. */
  causedBy?: string | null;
  /** The path, where it is not the socket's. */
  at?: (path: string) => string;
  /** Looks at the fields that not every error has. */
  fields?: (error: AnyError) => void;
  needs?: string[];
}

/** Fails as a function does on what `make` puts at the path. */
function on(
  make: (path: string) => unknown,
  call: (path: string) => unknown,
): Failure["fail"] {
  return async (_dir, path) => {
    const made = await make(path);
    try {
      return await errorOf(() => call(path));
    } finally {
      const closable = made as Partial<AsyncDisposable & Disposable> | undefined;
      if (closable?.[Symbol.asyncDispose]) await closable[Symbol.asyncDispose]?.();
      else closable?.[Symbol.dispose]?.();
    }
  };
}

const nothing = () => {};
const aFile = (path: string) => Deno.writeTextFile(path, "");
const aForeignServer = (path: string) => Deno.listen({ transport: "unix", path });
const below = (path: string) => `${path}/s.sock`;
const handler = async () => {};

const OWNING = ([
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
    says: "a program that does not use its lock listens there",
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
    says: "a part of the path is no directory",
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

const FAILURES: Failure[] = [
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
    says: "somebody else bound it",
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
    says: "nobody listens on it",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a file",
    fail: on(aFile, (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a regular file",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a directory",
    fail: on((path) => Deno.mkdir(path), (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a directory",
    causedBy: "ECONNREFUSED",
  },
  {
    name: "connect() to a fifo",
    fail: on((path) => run("mkfifo", [path]).then(() => {}), (path) => connect(path)),
    is: NotASocket,
    operation: "connect",
    code: "ECONNREFUSED",
    says: "it is a fifo",
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
    says: "a part of the path is no directory",
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
    name: "connect({ owner }) to a socket of somebody else",
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
    says: "a part of the path is no directory",
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

/** Failures with a name that has no file. */
function abstractFailures(): Failure[] {
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
      name: "connect() to an abstract name of nobody",
      fail: () => errorOf(() => connect(name)),
      is: NothingListening,
      operation: "connect",
      at: () => name,
      code: "ECONNREFUSED",
      says: "nobody listens on it. Start the server",
      causedBy: "ECONNREFUSED",
    },
  ];
}

/** Failures of connections: both ends are here, and both are closed in the end. */
function connectionFailures(): Failure[] {
  type End = Awaited<ReturnType<typeof connect>>;
  const withPair =
    (fail: (client: End, server: End) => Promise<AnyError>): Failure["fail"] =>
    async (_dir, path) => {
      await using listener = await listen(path);
      const [server, client] = await Promise.all([listener.accept(), connect(path)]);
      try {
        return await fail(client, server);
      } finally {
        client.close();
        server.close();
      }
    };
  return [
    {
      name: "read() of a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.read(new Uint8Array(1)));
      }),
      is: ConnectionClosed,
      operation: "read",
      says: "close() was called on this side",
    },
    {
      name: "read() of a connection that is closed meanwhile",
      fail: withPair((client) => {
        const error = errorOf(() => client.read(new Uint8Array(1)));
        client.close();
        return error;
      }),
      is: ConnectionClosed,
      operation: "read",
      says: "close() was called on this side",
    },
    {
      name: "write() to a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.write(encode("hello")));
      }),
      is: ConnectionClosed,
      operation: "write",
      says: "5 bytes were not sent",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "write() after closeWrite()",
      fail: withPair(async (client) => {
        await client.closeWrite();
        return await errorOf(() => client.write(encode("hello")));
      }),
      is: ConnectionClosed,
      operation: "write",
      says: "closeWrite() was called on this side, and 5 bytes were not sent",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "closeWrite() of a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.closeWrite());
      }),
      is: ConnectionClosed,
      operation: "closeWrite",
      says: "Cannot half-close",
    },
    {
      name: "write() to a peer that is gone",
      fail: withPair((client, server) => {
        server.close();
        return errorOf(() => client.write(encode("hello")));
      }),
      is: Deno.errors.BrokenPipe,
      operation: "write",
      code: "EPIPE",
      says: "the peer has closed the connection",
      causedBy: "EPIPE",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "write() of a server to a client that is gone",
      fail: withPair((client, server) => {
        client.close();
        return errorOf(() => server.write(encode("hello")));
      }),
      is: Deno.errors.BrokenPipe,
      operation: "write",
      code: "EPIPE",
      says: "Cannot write to a client of",
      causedBy: "EPIPE",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "read() from a peer that did not read everything",
      fail: withPair(async (client, server) => {
        await client.write(encode("hello"));
        server.close();
        return await errorOf(() => client.read(new Uint8Array(1)));
      }),
      is: Deno.errors.ConnectionReset,
      operation: "read",
      code: "ECONNRESET",
      says: "before reading everything that was sent",
      causedBy: "ECONNRESET",
    },
    {
      name: "relay() with a peer that did not read everything",
      fail: withPair(async (client, server) => {
        await server.write(encode("hello"));
        const relaying = errorOf(() => relay(server, server));
        client.close();
        return await relaying;
      }),
      is: Deno.errors.ConnectionReset,
      operation: "read",
      code: "ECONNRESET",
      says: "Cannot go on relaying",
      fields: (error) => assertEquals([error.aToB, error.bToA], [0, 0]),
    },
    {
      name: "read() of a server on which nothing comes in time",
      fail: async (_dir, path) => {
        const failed = Promise.withResolvers<AnyError>();
        await using _server = await serve({ path, idleTimeout: 1 }, async (conn) => {
          failed.resolve(await errorOf(() => conn.read(new Uint8Array(1))));
        });
        await using _client = await connect(path);
        return await failed.promise;
      },
      is: Deno.errors.TimedOut,
      operation: "read",
      says: "nothing came for 1 ms",
    },
  ];
}

/** Asserts that an error has the shape that all of this package have. */
function assertShape(
  error: AnyError,
  { is, operation, says, code, causedBy }: Failure,
  at: string,
) {
  assertInstanceOf(error, is);
  assertEquals([error.operation, error.path], [operation, at], error.message);
  assert(isSocketError(error));
  if (code !== undefined) assertEquals(error.code, code);
  if (causedBy === null) assertEquals("cause" in error, false);
  if (typeof causedBy === "string") {
    assertInstanceOf(error.cause, Error);
    assertEquals((error.cause as AnyError).code, causedBy);
  }
  assertMatch(error.message, /^Cannot [a-z]/);
  assertMatch(error.message, /[^.\s]$/);
  assert(!error.message.includes("os error"), error.message);
  assert(!/n't\b/.test(error.message), error.message);
  // An abstract name as the command line writes it.
  assert(error.message.includes(JSON.stringify(at.replace(/^\0/, "@"))), error.message);
  assert(error.message.includes(says), error.message);
}

for (const failure of FAILURES) {
  const { name, fail, at, fields, needs } = failure;
  test(`${name} fails with ${failure.is.name} in the one shape`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const error = await fail(dir, path);
    assertShape(error, failure, at?.(path) ?? path);
    fields?.(error);
  }, { needs: needs ?? [] });
}

test("a bind that binds nothing is the caller's mistake: a TypeError, and the path is free again", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using claimed = await claim(path);
  let disposed = false;
  const nobody = { [Symbol.dispose]: () => void (disposed = true) };
  const error = await errorOf(() => claimed.bind(() => nobody));
  assertEquals([error.constructor, disposed], [TypeError, true]);
  assertMatch(error.message, /there is nothing after the bind/);
  using listener = await claimed.bind(() => aForeignServer(path));
  const [server, client] = await Promise.all([listener.accept(), connect(path)]);
  server.close();
  assertEquals(await readText(client), null);
  client.close();
});

// ---- As somebody else -------------------------------------------------------------------------------

/** What a process of another user is told, whose own permissions are not in the way. */
async function failAsNobody(
  operation: string,
  path: string,
): Promise<Record<string, string | number>> {
  const flags = ["--allow-read", "--allow-write", "--allow-net", "--allow-sys"];
  const use = JSON.stringify({ operation, path });
  await using program = fixture("permission_as_nobody.ts", flags, [use]);
  return JSON.parse(await program.line());
}

test("connect() to a socket whose mode keeps this user out fails with ConnectDenied", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("s.sock");
  await using _server = await serve({ path, mode: 0o640 }, handler);
  const { message, ...fields } = await failAsNobody("connect", path);
  assertEquals(fields, {
    class: "ConnectDenied",
    operation: "connect",
    path,
    code: "EACCES",
    mode: 0o640,
    uid: 0,
    gid: Deno.gid() as number,
  });
  assertMatch(
    String(message),
    /^Cannot connect to ".*": its mode 0640 and owner 0:\d+ do not .*[^.]$/,
  );
}, { root: true });

test("connect() in a directory that keeps this user out fails with ConnectDenied", async () => {
  await using dir = new TempDir(0o700);
  const path = dir.file("s.sock");
  await using _server = await serve({ path, mode: 0o666 }, handler);
  const { message, ...fields } = await failAsNobody("connect", path);
  assertEquals(fields, { class: "ConnectDenied", operation: "connect", path, code: "EACCES" });
  assertMatch(String(message), /^Cannot connect to ".*": a directory on the way denies it$/);
}, { root: true });

for (const operation of ["claim", "listen", "serve"]) {
  test(
    `${operation}() over a socket that this user may not ask fails with ConnectDenied`,
    async () => {
      await using dir = new TempDir(0o777);
      const path = dir.file("s.sock");
      using _foreign = aForeignServer(path);
      await Deno.chmod(path, 0o600);
      const { message, ...fields } = await failAsNobody(operation, path);
      // The same bits that probe() and connect() tell: no file type among them.
      assertEquals(fields, {
        class: "ConnectDenied",
        operation,
        path,
        code: "EACCES",
        mode: 0o600,
        uid: 0,
        gid: Deno.gid() as number,
      });
      assertMatch(
        String(message),
        /^Cannot .*: a socket of uid 0 with mode 0600 is there.*\. Run as that user, or choose another path$/,
      );
    },
    { root: true },
  );

  test(
    `${operation}() in a directory that this user may not write to fails in the one shape`,
    async () => {
      await using dir = new TempDir(0o755);
      const path = dir.file("s.sock");
      const { message, ...fields } = await failAsNobody(operation, path);
      assertEquals(fields, { class: "PermissionDenied", operation, path, code: "EACCES" });
      assertMatch(
        String(message),
        /^Cannot .*: the file system denies it\. Choose a directory that this process may write to$/,
      );
    },
    { root: true },
  );
}

// ---- runtimePath() ----------------------------------------------------------------------------------

for (
  const [name, env, at] of [
    [
      "$XDG_RUNTIME_DIR",
      (path: string) => ({ XDG_RUNTIME_DIR: path, TMPDIR: "" }),
      (p: string) => p,
    ],
    [
      "$TMPDIR",
      (path: string) => ({ XDG_RUNTIME_DIR: "", TMPDIR: path }),
      (path: string) => `${path}/uds-${Deno.uid()}`,
    ],
  ] as const
) {
  test(`runtimePath() with a ${name} that does not exist fails in the one shape`, async () => {
    await using dir = new TempDir();
    const absent = dir.file("absent");
    await using program = fixture("permission_runtime_path.ts", ["-A"], [], { env: env(absent) });
    const { message, ...fields } = JSON.parse(await program.line());
    assertEquals(fields, {
      class: "NotFound",
      name: "NotFound",
      operation: "runtimePath",
      path: at(absent),
      code: "ENOENT",
    });
    assertMatch(message, /^Cannot [a-z].*[^.]$/);
    assert(!message.includes("os error"), message);
  });
}

test("runtimePath() that is refused a permission fails in the one shape", async () => {
  const error = await errorOf(() => runtimePath("app"));
  assertInstanceOf(error, Deno.errors.NotCapable);
  assertEquals([error.operation, error.path], ["runtimePath", null]);
  assertMatch(error.message, /^Cannot find a runtime path: .*[^.]$/);
}, { permissions: "none" });

for (
  const [operation, call] of [
    ["claim", () => claim("/run/s.sock")],
    ["connect", () => connect("/run/s.sock")],
    ["listen", () => listen("/run/s.sock")],
    ["probe", () => probe("/run/s.sock")],
    ["serve", () => serve("/run/s.sock", handler)],
  ] as const
) {
  test(
    `${operation}() that is refused a permission fails with NotCapable in the one shape`,
    async () => {
      const error = await errorOf(call);
      assertInstanceOf(error, Deno.errors.NotCapable);
      assertEquals([error.operation, error.path], [operation, "/run/s.sock"]);
      assert(isSocketError(error));
      assertMatch(error.message, /^Cannot [a-z ]+ "\/run\/s\.sock": .*[^.]$/);
    },
    { permissions: "none" },
  );
}

for (
  const [operation, call] of [
    ["connect", (path: string, signal: AbortSignal) => connect({ path, signal })],
    ["listen", (path: string, signal: AbortSignal) => listen({ path, signal })],
    ["serve", (path: string, signal: AbortSignal) => serve({ path, signal }, handler)],
  ] as const
) {
  test(`${operation}() with an aborted signal rejects with its reason, as it is`, async () => {
    await using dir = new TempDir();
    const reason = new Error("enough");
    const error = await errorOf(() => call(dir.file("s.sock"), AbortSignal.abort(reason)));
    assert(error === reason);
    assertEquals(dir.list(), []);
  });
}
