import {
  ConnectDenied,
  ConnectionClosed,
  ConnectTimeout,
  InsecurePath,
  isSocketError,
  lines,
  messages,
  MessageTooLarge,
  NotASocket,
  NothingListening,
  RpcError,
  SocketInUse,
  SocketNotFound,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import { errorOf } from "./_errors.ts";

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

  test(`${name} has operation, path and code, and no cause unless one is given`, () => {
    const error = new Class("Cannot do it", FIELDS);
    assertEquals([error.operation, error.path, error.code], ["connect", "/run/s.sock", code]);
    assertEquals("cause" in error, false);
    assertEquals("code" in error, code !== undefined);
    assert(isSocketError(error));
  });

  test(`${name} takes the code of its cause, unless a code is given`, () => {
    const caused = new Class("Cannot do it", { ...FIELDS, cause: CAUSE });
    assertEquals(caused.cause, CAUSE);
    // The timeout is our own: the cause is only the last refusal.
    const own = name === "ConnectTimeout" ? "ETIMEDOUT" : undefined;
    assertEquals(caused.code, own ?? "EIO");
    const given = new Class("Cannot do it", { ...FIELDS, cause: CAUSE, code: "EPIPE" });
    assertEquals(given.code, own ?? "EPIPE");
  });

  test(`${name} takes a cause that is not an error`, () => {
    const error = new Class("Cannot do it", { ...FIELDS, cause: null });
    assertEquals([error.cause, error.code], [null, code]);
  });
}

test("instanceof distinguishes the classes", () => {
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

test("ConnectionClosed has the unsent bytes of a write, and none of a read", () => {
  const unsent = encode("rest");
  assertEquals(new ConnectionClosed("Cannot do it", { ...FIELDS, unsent }).unsent, unsent);
  assertEquals(new ConnectionClosed("Cannot do it", FIELDS).unsent, undefined);
  assertEquals(new ConnectionClosed("Cannot do it", { operation: "read", path: null }).path, null);
});

test("an error without a cause does not show an empty one", async () => {
  assertEquals("cause" in new RpcError("Cannot do it", { cause: undefined }), false);
  const channel = messages({
    read: () => Promise.reject(),
    write: () => Promise.reject(),
  }, lines());
  channel.send("lost");
  const error = await errorOf(() => channel.flush());
  assertEquals("cause" in error, false);
  channel.close();
});

for (
  const [name, value, expected] of [
    ["an error with operation and path", Object.assign(new Error(), FIELDS), true],
    ["an error with path null", Object.assign(new Error(), { operation: "x", path: null }), true],
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
