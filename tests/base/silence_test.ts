import { connect, type Connection, lengthPrefixed, messages, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, fixture, readText, TempDir, test, testAlone } from "../_helpers.ts";

// Timeouts of a process that was blocked. Data that arrived meanwhile counts.

/** Blocks the event loop of this process. */
function blockEventLoop(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function echo(conn: Connection): Promise<void> {
  const buffer = new Uint8Array(1024);
  for (let count; (count = await conn.read(buffer)) !== null;) {
    await conn.write(buffer.subarray(0, count));
  }
}

for (const [option, count] of [["idleTimeout", 600], ["firstByteTimeout", 20]] as const) {
  testAlone(
    `serve() with ${option} closes none of ${count} clients that wrote while the process was blocked`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      const errors: unknown[] = [];
      const options = { path, [option]: 700, onError: (error: unknown) => void errors.push(error) };
      await using _server = await serve(options, echo);
      const clients = await Promise.all(Array.from({ length: count }, () => connect(path)));
      if (option === "idleTimeout") {
        await Promise.all(clients.map((client) => client.write(encode("."))));
        await Promise.all(clients.map(readText));
      }
      // When this loop ends the bytes are in the kernel.
      for (const client of clients) client.write(encode("x"));
      blockEventLoop(750);
      const answers = await Promise.all(clients.map(readText));
      assertEquals(answers.filter((answer) => answer !== "x"), []);
      assertEquals(errors, []);
      for (const client of clients) client.close();
    },
    { deadline: 20_000 },
  );
}

test("serve() with idleTimeout closes a silent client after the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: failure, resolve: onError } = Promise.withResolvers<unknown>();
  await using _server = await serve({ path, idleTimeout: 100, onError }, echo);
  await using client = await connect(path);
  await client.write(encode("x"));
  await readText(client);
  blockEventLoop(500);
  assertEquals(await readText(client), null);
  assert(await failure instanceof Deno.errors.TimedOut);
});

test("messages() with frameTimeout accepts the end of a message that arrived while the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve(path, async (conn) => {
    await using channel = messages(conn, lengthPrefixed(), { frameTimeout: 150 });
    for await (const message of channel) await channel.send(message);
  });
  await using client = await connect(path);
  await client.write(new Uint8Array([0, 0, 0, 2, 65]));
  await pause(50);
  await client.write(new Uint8Array([66]));
  blockEventLoop(400);
  await using answers = messages(client, lengthPrefixed());
  assertEquals(await answers.receive(), new Uint8Array([65, 66]));
});

test("messages() with frameTimeout extends the time of a slow peer by the time that the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve(path, async (conn) => {
    await using channel = messages(conn, lengthPrefixed(), { frameTimeout: 300 });
    for await (const message of channel) await channel.send(message);
  });
  await using client = await connect(path);
  await client.write(new Uint8Array([0, 0, 0, 2, 65]));
  await pause(50);
  blockEventLoop(500);
  // The client was blocked as well, like a process in the same container.
  await pause(50);
  await client.write(new Uint8Array([66]));
  await using answers = messages(client, lengthPrefixed());
  assertEquals(await answers.receive(), new Uint8Array([65, 66]));
});

test("messages() with frameTimeout ends half a message after the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: failure, resolve: onError } = Promise.withResolvers<unknown>();
  await using _server = await serve({ path, onError }, async (conn) => {
    await using channel = messages(conn, lengthPrefixed(), { frameTimeout: 100 });
    for await (const message of channel) await channel.send(message);
  });
  await using client = await connect(path);
  await client.write(new Uint8Array([0, 0, 0, 2, 65]));
  await pause(20);
  blockEventLoop(400);
  assert(await failure instanceof Deno.errors.TimedOut);
});

test("connect() with wait does not count the time for which the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const connecting = connect({ path, wait: true, timeout: 300 });
  await pause(20);
  blockEventLoop(700);
  await pause(50);
  await using _server = await serve(path, echo);
  await using client = await connecting;
  await client.write(encode("x"));
  assertEquals(await readText(client), "x");
});

test("connect() with wait still times out after the process was blocked", async () => {
  await using dir = new TempDir();
  const connecting = connect({ path: dir.file("s"), wait: true, timeout: 100 });
  await pause(20);
  blockEventLoop(300);
  await assertRejects(() => connecting, Deno.errors.TimedOut);
});

test("shutdown() does not count the time for which the process was blocked", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const server = await serve(path, async (conn) => {
    await readText(conn);
    begin();
    await conn.write(encode(`${await readText(conn)}!`));
  });
  await using client = await connect(path);
  await client.write(encode("first"));
  await begun;
  const ended = server.shutdown({ timeout: 300 });
  await pause(50);
  await client.write(encode("second"));
  blockEventLoop(800);
  assertEquals(await readText(client), "second!");
  assertEquals(await ended, { completed: 1, aborted: 0 });
});

const STOPPED: Record<string, [before: Uint8Array, during: Uint8Array, answer: string]> = {
  idle: [encode("a"), encode("b"), "b"],
  first: [new Uint8Array(), encode("b"), "b"],
  frame: [new Uint8Array([0, 0, 0, 2, 65]), new Uint8Array([66]), "\0\0\0\x02AB"],
};

for (const [mode, [before, during, answer]] of Object.entries(STOPPED)) {
  test(`a server that was stopped by SIGSTOP closes no client that wrote meanwhile (${mode})`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using server = fixture("silence_server.ts", ["-A"], [path, mode, "300"]);
    assertEquals(await server.line(), "ready");
    await using client = await connect(path);
    await client.write(before);
    if (mode === "idle") await readText(client);
    else await pause(50);
    server.kill("SIGSTOP");
    await pause(100);
    await client.write(during);
    await pause(400);
    server.kill("SIGCONT");
    assertEquals(await readText(client), answer);
  });
}
