import {
  claim,
  type ClaimOptions,
  connect,
  listen,
  probe,
  serve,
  type SocketClaim,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import { encode, gate, isPending, makeStale, readAll, TempDir, test, turn } from "../_helpers.ts";
import { look, modeOf, REPLACEMENTS } from "./_claim.ts";
import { get, HTTP_SERVERS } from "./_http.ts";

const RENAME = { publish: "rename" } as const;
const REPLACE = { publish: "rename", existing: "replace" } as const;

for (const [name, open] of Object.entries(HTTP_SERVERS)) {
  /** Claims a path for a server that answers with a text. */
  const serving = async (path: string, text: string, options: ClaimOptions) => {
    const owned = await claim(path, options);
    await owned.bind((path) => open(path, () => text));
    return owned;
  };

  test(`claim() publishes ${name} by rename, and leaves nothing`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    await makeStale(`${path}.new`);
    {
      await using owned = await serving(path, "hello", { ...RENAME, mode: 0o660 });
      assertEquals(owned.path, path);
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals(modeOf(path), 0o660);
      assertEquals(await get(path), "hello");
      assertEquals((await probe(path)).holder, Deno.pid);
    }
    assertEquals(dir.list(), []);
  });

  test(`claim() that is replaced closes ${name}, and its successor loses nothing`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const replaced = gate();
    const old = await serving(path, "old", { ...RENAME, onReplaced: () => replaced.open() });
    const kept = await connect(path);
    await using _successor = await serving(path, "new", REPLACE);
    const files = ["a.sock", "a.sock.lock"];
    const before = files.map((file) => look(dir.file(file)));
    // Until the old claim notices, its socket has another name.
    assertEquals(dir.list(), [...files, "a.sock.old"]);
    assertEquals(await get(path), "new");
    await replaced.opened;
    // A connection that the old server had accepted is served by it.
    await kept.write(encode("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert(new TextDecoder().decode(await readAll(kept)).endsWith("\r\n\r\nold"));
    kept.close();
    await old.release();
    assertEquals(files.map((file) => look(dir.file(file))), before);
    assertEquals(dir.list(), files);
    assertEquals(await get(path), "new");
  });

  test(`release() serves the whole backlog of ${name}, and refuses later clients`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await serving(path, "hello", RENAME);
    const clients = await Promise.all(Array.from({ length: 200 }, () => connect(path)));
    const request = encode("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // Several answers are due when the release begins.
    const writing = clients.map((client) => client.write(request));
    const releasing = owned.release();
    await Promise.all(writing);
    const answers = await Promise.all(clients.map(readAll));
    assertEquals(
      answers.filter((answer) => !new TextDecoder().decode(answer).endsWith("hello")),
      [],
    );
    await releasing;
    for (const client of clients) client.close();
    assertEquals(dir.list(), []);
  });

  test(`release() unlocks the path while ${name} finishes a request`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const [begun, finish] = [gate(), gate()];
    const old = await claim(path, RENAME);
    await old.bind((path) =>
      open(path, async () => {
        begun.open();
        await finish.opened;
        return "old";
      })
    );
    const answer = get(path);
    await begun.opened;
    const releasing = old.release();
    while (dir.list().length > 0) await turn();
    await using _next = await serving(path, "next", RENAME);
    assertEquals(await get(path), "next");
    assert(await isPending(releasing));
    finish.open();
    assertEquals(await answer, "old");
    await releasing;
    assertEquals(await get(path), "next");
  });

  test(`release() after ${name} was closed leaves nothing`, async () => {
    await using dir = new TempDir();
    const owned = await claim(dir.file("a.sock"), RENAME);
    const server = await owned.bind((path) => open(path, () => ""));
    await server[Symbol.asyncDispose]();
    await owned.release();
    assertEquals(dir.list(), []);
  });

  for (const [what, make] of Object.entries(REPLACEMENTS)) {
    for (const suffix of ["", ".new"]) {
      test(`release() of ${name} does not remove ${what} at <path>${suffix}`, async () => {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        const owned = await serving(path, "", RENAME);
        if (suffix === "") Deno.removeSync(path);
        const remove = make(path + suffix);
        const before = look(path + suffix);
        await owned.release();
        assertEquals(look(path + suffix), before);
        assertEquals(dir.list(), [`a.sock${suffix}`]);
        remove();
      });
    }
  }

  test(`claim() of ${name} ten times in a row: each is replaced, and the last one stays`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const told: number[] = [];
    const claims: SocketClaim[] = [];
    for (let i = 0; i < 10; i++) {
      claims.push(await serving(path, `${i}`, { ...REPLACE, onReplaced: () => told.push(i) }));
      assertEquals(await get(path), `${i}`);
    }
    const last = claims.pop();
    // Some notice it only now, and some are closing.
    await Promise.all(claims.map((owned) => owned.release()));
    assertEquals(told, told.toSorted());
    assertEquals(await get(path), "9");
    await last?.release();
    assertEquals(dir.list(), []);
  });
}

test("claim() replaces serve(), and is replaced by it", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const first = await serve({ path, ...RENAME }, async () => {});
  const second = await claim(path, REPLACE);
  const server = await second.bind((path) => HTTP_SERVERS["Deno.serve"]!(path, () => "claimed"));
  assertEquals(await get(path), "claimed");
  await first.finished;
  await using _third = await serve({ path, ...REPLACE }, async (conn) => {
    await conn.write(encode("served"));
  });
  await using conn = await connect(path);
  assertEquals(await new Response(conn.readable).text(), "served");
  await (server as Deno.HttpServer).finished;
  await second.release();
});

// ---- Mistakes -----------------------------------------------------------------------------------

test("claim() that replaces a stale socket in the place of another claim's leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const open = (path: string) => HTTP_SERVERS["Deno.serve"]!(path, () => "");
  await using old = await claim(path, RENAME);
  await old.bind(open);
  // As a successor leaves it that is killed between its renames.
  Deno.removeSync(path);
  await makeStale(path);
  await using successor = await claim(path, REPLACE);
  await successor.bind(open);
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  await Promise.all([old.release(), successor.release()]);
  assertEquals(dir.list(), []);
});

test("bind() refuses an open that binds the path of the claim instead of the one that it got", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path, RENAME);
  const error = await assertRejects(
    () => owned.bind(() => Deno.listen({ transport: "unix", path: owned.path })),
    TypeError,
  );
  assertEquals(
    error.message,
    `Cannot claim "${path}": there is nothing at "${path}.new" after the bind. ` +
      `Bind the path that open gets as its argument before it has ended: it is renamed then`,
  );
});

test("bind() refuses the same while the server to replace has the path, and leaves that", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _old = await listen({ path, ...RENAME });
  const before = look(path);
  await using owned = await claim(path, REPLACE);
  await assertRejects(
    () => owned.bind(() => Deno.listen({ transport: "unix", path: owned.path })),
    TypeError,
    "Bind the path that open gets as its argument",
  );
  await owned.release();
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
});

test('bind() with publish: "rename" refuses a second call', async () => {
  await using dir = new TempDir();
  await using owned = await claim(dir.file("a.sock"), RENAME);
  const open = (path: string) => Deno.listen({ transport: "unix", path });
  using listener = await owned.bind(open);
  await assertRejects(() => owned.bind(open), Deno.errors.BadResource, "it is bound once");
  listener.close();
});

for (const when of ["after", "while"]) {
  test(`release() that is called ${when} open binds closes the server, and leaves nothing`, async () => {
    await using dir = new TempDir();
    const owned = await claim(dir.file("a.sock"), RENAME);
    let released: Promise<void> | undefined;
    const release = () => released ??= owned.release();
    const binding = owned.bind((path) => {
      if (when === "while") release();
      return HTTP_SERVERS["Deno.serve"]!(path, () => "");
    });
    release();
    await released;
    assertEquals(dir.list(), []);
    const server = await binding as unknown as Deno.HttpServer;
    await server.finished;
  });
}

test("bind() after release() has begun is refused, and does not call open", async () => {
  await using dir = new TempDir();
  for (const options of [{}, RENAME]) {
    const owned = await claim(dir.file("a.sock"), options);
    const released = owned.release();
    await assertRejects(
      () => owned.bind(() => fail("open was called")),
      Deno.errors.BadResource,
      "the claim has been released",
    );
    await released;
    assertEquals(dir.list(), []);
  }
});

test("claim() that is not bound leaves the server that it could have replaced", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _old = await listen({ path, ...RENAME });
  const before = look(path);
  await (await claim(path, REPLACE)).release();
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
});

for (
  const [options, says] of [
    [{ onReplaced() {} }, 'Invalid onReplaced: it needs publish: "rename"'],
    [{ ...RENAME, onReplaced: true }, "Invalid onReplaced: expected a function, got true"],
    [{ publish: "link" }, 'Invalid publish: expected "direct" or "rename", got "link"'],
  ] as [object, string][]
) {
  test(`claim() refuses ${JSON.stringify(options)}: ${says}`, async () => {
    await using dir = new TempDir();
    await assertRejects(() => claim(dir.file("a.sock"), options as ClaimOptions), TypeError, says);
    assertEquals(dir.list(), []);
  });
}

test("release() passes on what the server rejects with, also after a takeover", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const reason = new Error("not today");
  const failing = (path: string) => {
    const server = HTTP_SERVERS["Deno.serve"]!(path, () => "");
    return {
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        throw reason;
      },
    };
  };
  const replaced = gate();
  const old = await claim(path, { ...RENAME, onReplaced: () => replaced.open() });
  await old.bind(failing);
  await using _successor = await listen({ path, ...REPLACE });
  await replaced.opened;
  assertEquals(await assertRejects(() => old.release(), Error), reason);
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
});

test("release() unlocks the path also if a file is in the place of its directory", async () => {
  await using dir = new TempDir();
  const [place, other] = [dir.file("place"), dir.file("other")];
  await Deno.mkdir(place);
  const path = `${place}/a.sock`;
  const owned = await claim(path, RENAME);
  await owned.bind((path) => Deno.listen({ transport: "unix", path }));
  await Deno.rename(place, other);
  await Deno.writeTextFile(place, "");
  const message = `Cannot remove "${path}" and its lock: a part of the path is not a directory`;
  await assertRejects(() => owned.release(), Error, message);
  await Deno.remove(place);
  await Deno.rename(other, place);
  await (await claim(path, RENAME)).release();
  assertEquals([...Deno.readDirSync(place)], []);
});
