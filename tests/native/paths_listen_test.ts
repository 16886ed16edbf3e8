/** `listenPackets()`: the path, and what is accepted. */

import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { listen, NotASocket, NothingListening, SocketInUse } from "@uds/uds";
import { connectPackets, listenPackets } from "@uds/uds/native";
import {
  decode,
  encode,
  isPending,
  makeStale,
  openDescriptors,
  TempDir,
  test,
} from "../_helpers.ts";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { AF_UNIX, SOCK_STREAM } from "../../_internal/libc/constants.ts";
import { requireLibc } from "../../_internal/libc/library.ts";
import { PathOwner } from "../../_internal/native/path_owner.ts";
import { bindTo } from "../../_internal/native/path_socket.ts";
import { planToListen } from "../../_internal/path/claim_options.ts";
import { Reporter } from "../../_internal/server/reporter.ts";
import { modeOf, pathsUse, peer } from "./_paths.ts";

test("listenPackets() accepts one connection after another, with whole packets", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  assertEquals(listener.addr, { transport: "unix", path });
  for (const word of ["first", "second"]) {
    await using client = await connectPackets(path);
    await using served = await listener.accept();
    assertEquals([served.type, served.localAddr.path, served.remoteAddr.path], [
      "seqpacket",
      path,
      null,
    ]);
    assertEquals([client.localAddr.path, client.remoteAddr.path], [null, path]);
    await client.send(encode(word));
    await client.send(new Uint8Array(0));
    await client.closeWrite();
    assertEquals(decode((await served.receive())!), word);
    assertEquals((await served.receive())!.length, 0);
    assertEquals(await served.receive(), null);
  }
});

test("listenPackets() serves several accept() calls in their order", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  const accepts = [listener.accept(), listener.accept(), listener.accept()];
  for (const [i, accepted] of accepts.entries()) {
    await using client = await connectPackets(path);
    await client.send(Uint8Array.of(i));
    using served = await accepted;
    assertEquals(await served.receive(), Uint8Array.of(i));
  }
});

test("listenPackets() does not hold up timers while clients come all the time", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  let turns = 0;
  let isOver = false;
  const count = () => void (isOver || (turns++, setTimeout(count, 0)));
  count();
  for (let i = 0; i < 300; i++) {
    // Another client waits at each accept.
    using _client = await connectPackets(path);
    (await listener.accept()).close();
  }
  isOver = true;
  assert(turns > 2, String(turns));
});

test("listenPackets() is exclusive, and close() leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const before = openDescriptors();
  const listener = await listenPackets(path);
  for (const again of [listenPackets, listen]) {
    const error = await assertRejects(() => again(path) as Promise<unknown>, SocketInUse);
    assertEquals([error.path, error.holder], [path, Deno.pid]);
  }
  const pending = listener.accept();
  pending.catch(() => {});
  assert(await isPending(pending));
  const clients = await Promise.all([connectPackets(path), connectPackets(path)]);
  const accepted = await pending;
  await Promise.all([listener.close(), listener.close()]);
  assertEquals(dir.list(), []);
  const late = await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  assertEquals(late.message, `Cannot accept on "${path}": the listener was closed`);
  // The accepted connection goes on. The other client was in the backlog.
  await clients[0]!.send(encode("still"));
  assertEquals(decode((await accepted.receive())!), "still");
  await assertRejects(
    async () => assertEquals(await clients[1]!.receive(), null),
    Deno.errors.ConnectionReset,
  );
  for (const socket of [accepted, ...clients]) socket.close();
  assertEquals(openDescriptors(), before);
});

test("listenPackets() ends pending accepts and loops when it closes", async () => {
  await using dir = new TempDir();
  const listener = await listenPackets(dir.file("s.sock"));
  const pending = listener.accept();
  const ended = (async () => {
    for await (const _ of listener) assert(false);
    return "ended";
  })();
  const rejected = assertRejects(() => pending, Deno.errors.BadResource, "the listener was closed");
  assert(await isPending(pending));
  await listener.close();
  await rejected;
  assertEquals(await ended, "ended");
});

test("listenPackets() closes when its signal aborts, and rejects if it aborts before", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const { signal, abort } = abortable();
  const listener = await listenPackets({ path, signal });
  const rejected = assertRejects(() => listener.accept(), Deno.errors.BadResource);
  abort();
  await rejected;
  await listener.close();
  assertEquals(dir.list(), []);
  const error = await listenPackets({ path, signal }).catch((error) => error);
  assertEquals(error, signal.reason);
});

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

test("listenPackets() sets mode and owner", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  for (const mode of [0o600, 0o660, 0o666]) {
    await using _listener = await listenPackets({ path, mode });
    assertEquals(modeOf(path), mode);
  }
  await using _listener = await listenPackets({ path, mode: 0o660, gid: Deno.gid()! });
  assertEquals([modeOf(path), Deno.lstatSync(path).gid], [0o660, Deno.gid()]);
});

test("listenPackets() has its mode from the first instant, under any umask and without sys", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  // Without read permission for the directory, chmod would be refused.
  const flags = [
    `--allow-read=${path},${path}.lock`,
    `--allow-write=${path},${path}.lock`,
    `--allow-net=unix:${path}`,
    "--allow-ffi",
  ];
  await using program = pathsUse("umask 000", flags, "listen", path);
  assertEquals(await program.line(), "ready");
  assertEquals(modeOf(path), 0o600);
});

const TYPES = ["stream", "dgram", "seqpacket"];

for (const type of TYPES) {
  test(`listenPackets() replaces a stale ${type} socket`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    if (type === "stream") await makeStale(path);
    else {
      await using holder = peer("hold", type, path);
      assertEquals(await holder.line(), "ready");
    }
    assert(Deno.lstatSync(path).isSocket);
    const fails = await assertRejects(
      () => listenPackets({ path, existing: "fail" }),
      SocketInUse,
    );
    assertEquals(fails.code, "EADDRINUSE");
    await using listener = await listenPackets(path);
    await using _client = await connectPackets(path);
    await using _served = await listener.accept();
  }, { needs: ["python3"] });

  for (const listening of type === "dgram" ? [""] : ["listening", ""]) {
    if (type === "stream" && listening === "") continue;
    test(`listenPackets() refuses a ${type} socket that is alive ${listening}`, async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await using holder = peer("hold", type, path, listening);
      assertEquals(await holder.line(), "ready");
      const before = Deno.lstatSync(path).ino;
      const error = await assertRejects(() => listenPackets(path), SocketInUse);
      assertEquals([error.code, error.path, error.operation], [
        "EADDRINUSE",
        path,
        "listenPackets",
      ]);
      assertEquals(Deno.lstatSync(path).ino, before);
      assertEquals(dir.list(), ["s.sock"]);
    }, { needs: ["python3"] });
  }
}

test("listenPackets() refuses a file that is not a socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  Deno.writeTextFileSync(path, "text");
  const error = await assertRejects(() => listenPackets(path), NotASocket);
  assertEquals(
    error.message,
    `Cannot listen on "${path}": it is a regular file, which was left untouched. ` +
      `Choose another path`,
  );
  assertEquals(Deno.readTextFileSync(path), "text");
});

test("listenPackets() removes only its own file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const listener = await listenPackets({ path, onPathLost: resolve });
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, "another program's");
  assertEquals(await promise, { path, found: "other", heals: false });
  await listener.close();
  assertEquals(dir.list(), ["s.sock"]);
});

test("listenPackets() serves an abstract name, which is exclusive", async () => {
  const path = `\0uds-packets-${crypto.randomUUID()}`;
  await using listener = await listenPackets(path);
  const error = await assertRejects(() => listenPackets(path), SocketInUse);
  assertEquals(error.path, path);
  await using _client = await connectPackets(path);
  await using _served = await listener.accept();
  await assertRejects(() => listenPackets({ path, mode: 0o600 }), TypeError, "abstract name");
  await listener.close();
  await assertRejects(() => connectPackets(path), NothingListening);
});

test("listenPackets() makes clients beyond its backlog wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets({ path, backlog: 1 });
  using _first = await connectPackets(path);
  using _second = await connectPackets(path);
  const full = await assertRejects(
    () => connectPackets({ path, timeout: 0 }),
    Deno.errors.WouldBlock,
  );
  assertEquals(
    full.message,
    `Cannot connect to "${path}": its backlog is full: the server does not keep up`,
  );
  const third = connectPackets(path);
  assert(await isPending(third));
  using _served = await listener.accept();
  using _client = await third;
});

test("listenPackets() survives EMFILE", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using program = pathsUse("ulimit -n 100", ["-A"], "exhaust", path);
  assertEquals(await program.line(), "ready");
  using client = await connectPackets(path);
  // It prints the report of its failure to accept, closes the files, and goes on.
  assertEquals(await program.line(), "EMFILE");
  assertEquals(decode((await client.receive())!), "served");
}, { needs: ["python3"] });

test("listenPackets() and bindPackets() with unref() allow the process to exit", async () => {
  await using dir = new TempDir();
  await using program = pathsUse(":", ["-A"], "unref", dir.file("s.sock"));
  assertEquals((await program.status).code, 0);
});

test("unref() of a closed packet listener does not concern the next socket with its number", async () => {
  await using dir = new TempDir();
  await using program = pathsUse(":", ["-A"], "unref-closed", dir.file("s.sock"));
  for (let i = 0; i < 6; i++) assertEquals(await program.line(), `received ${i}`);
  assertEquals((await program.status).code, 0);
});

test("listenPackets() checks its options", async () => {
  const path = "/tmp/never.sock";
  const wrong: [options: unknown, message: string][] = [
    [{ path, backlog: -1 }, "Invalid backlog: expected a whole number of at least 0"],
    [{ path, backlog: -0 }, "Invalid backlog: expected a whole number of at least 0"],
    [{ path, maxPacketBytes: 0 }, "Invalid maxPacketBytes: expected a whole number of at least 1"],
    [{ path, existing: "replace" }, 'Invalid existing: expected "reclaim" or "fail"'],
    [{ path, publish: "rename" }, 'Invalid option "publish" of listenPackets()'],
    [{ path, mode: "600" }, "Invalid mode"],
    [5, "Invalid options of listenPackets(): expected an object, got 5"],
  ];
  for (const [options, message] of wrong) {
    const error = await listenPackets(options as string).catch((error) => error);
    assertInstanceOf(error, Error);
    assert(error.message.startsWith(message), error.message);
  }
});

test("listenPackets() leaves a socket that another program binds at the same moment", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const context = new ErrorContext("listenPackets", path);
  const libc = requireLibc(context);
  const others = libc.socket(AF_UNIX, SOCK_STREAM, 0);
  const late = {
    ...libc,
    bind(...args: Parameters<typeof libc.bind>): number {
      bindTo(libc, others, path);
      return libc.bind(...args);
    },
  };
  const plan = planToListen(context, {});
  const kind = { type: "seqpacket", backlog: 1 } as const;
  await assertRejects(() => PathOwner.bind(late, plan, kind, new Reporter()), SocketInUse);
  // It had not listened yet.
  assertEquals(dir.list(), ["s.sock"]);
  libc.close(others);
});
