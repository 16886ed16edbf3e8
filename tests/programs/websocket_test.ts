import { claim } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { Program, test, turn } from "../_helpers.ts";
import { Proxy } from "./_http.ts";
import { asUser, checked, missingModules, output, Relay, stop, UserDir } from "./_programs.ts";

const CLIENT = `
import asyncio, sys, websockets
async def use(i):
    uri = "ws://localhost/" + str(i)
    async with websockets.unix_connect(sys.argv[1], uri, max_size=None) as ws:
        for n in range(100): await ws.send("text %d grün" % n)
        for n in range(100): assert await ws.recv() == "text %d grün" % n
        large = bytes(range(256)) * 4096
        await ws.send(large)
        assert await ws.recv() == large
        await ws.ping()
async def main(): await asyncio.gather(*[use(i) for i in range(20)])
asyncio.run(main())
print(websockets.version.version)
`;

const LASTING = `
import asyncio, sys, websockets
ended = False
async def use(i):
    n = 0
    async with websockets.unix_connect(sys.argv[1], "ws://localhost/" + str(i)) as ws:
        print("open", flush=True)
        while not ended:
            await ws.send("text %d grün" % n)
            assert await ws.recv() == "text %d grün" % n
            n += 1
    return n
async def main():
    global ended
    using = asyncio.gather(*[use(i) for i in range(20)])
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ended = True
    print(sum(await using))
asyncio.run(main())
print(websockets.version.version)
`;

const SERVER = `
import asyncio, sys, websockets
async def echo(ws):
    async for message in ws: await ws.send(message)
async def main():
    async with websockets.unix_serve(echo, sys.argv[1], max_size=None):
        print("ready", flush=True)
        await asyncio.Future()
asyncio.run(main())
`;

const PYTHON = "/usr/bin/python3";
const WHAT = "20 clients at once, 100 messages and 1 MB each, there and back";

test("Python's websockets talk to Deno.upgradeWebSocket on a claimed path", async () => {
  await using dir = new UserDir();
  const path = dir.file("ws.sock");
  await using owned = await claim(path, { mode: 0o666 });
  await using _server = await owned.bind((path) =>
    Deno.serve({ path, onListen() {} }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    })
  );
  const found = (await output([PYTHON, "-c", CLIENT, path])).trim();
  const way = "`claim()` with `Deno.upgradeWebSocket()`";
  await checked("WebSocket, python3-websockets", ["echo", found], way, WHAT);
}, { needs: missingModules("websockets"), deadline: 30_000 });

for (const [name, program] of Object.entries({ nginx: "nginx", HAProxy: "haproxy" })) {
  test(`WebSockets outlive a reload of ${name} between uds relay and a claimed path`, async () => {
    await using dir = new UserDir();
    const path = dir.file("ws.sock");
    let received = 0;
    await using owned = await claim(path, { mode: 0o666 });
    await using _server = await owned.bind((path) =>
      Deno.serve({ path, onListen() {} }, (request) => {
        if (!request.headers.has("upgrade")) return new Response("hello");
        const { socket, response } = Deno.upgradeWebSocket(request);
        socket.onmessage = ({ data }) => {
          received++;
          socket.send(data);
        };
        return response;
      })
    );
    await using proxy = await Proxy.start(program, dir, path);
    const relayed = dir.file("relayed.sock");
    await using relay = await Relay.start(relayed, proxy.path);
    const [python = "", ...args] = asUser(PYTHON, "-c", LASTING, relayed);
    await using clients = new Program(python, args, { stdin: "piped" });
    for (let i = 0; i < 20; i++) assertEquals(await clients.line(), "open");
    await proxy.reload();
    const before = received;
    while (received < before + 2000) await turn();
    await clients.stdin.close();
    assertEquals(await clients.line(), `${received}`);
    const found = (await clients.line())!;
    await proxy.settled();
    await relay.end();
    const what = `20 clients go on during and after a reload of ${name}, no message lost`;
    const way = "`claim()` with `Deno.upgradeWebSocket()`, `uds relay`";
    await checked("WebSocket, python3-websockets", ["echo", found], way, what);
  }, { needs: [program, "curl", ...missingModules("websockets")], deadline: 30_000 });
}

for (const way of ["relay", "tap"]) {
  test(`Python's websockets talk to each other through uds ${way}`, async () => {
    await using dir = new UserDir();
    const [path, relayed] = [dir.file("ws.sock"), dir.file("relayed.sock")];
    const [program = "", ...args] = asUser(PYTHON, "-c", SERVER, path);
    await using server = new Program(program, args);
    assertEquals(await server.line(), "ready");
    await using relay = await Relay.run(way, relayed, path);
    const found = (await output([PYTHON, "-c", CLIENT, relayed])).trim();
    await relay.end();
    await stop(server);
    await checked("WebSocket, python3-websockets", ["echo", found], `\`uds ${way}\``, WHAT);
  }, { needs: missingModules("websockets"), deadline: 30_000 });
}
