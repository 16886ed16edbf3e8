import { connect, json, lines, messages } from "@uds/uds";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Program, test } from "../_helpers.ts";
import { asUser, checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

const BUS = `<busconfig>
  <listen>unix:path=PATH</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

/** Starts a bus of D-Bus at "bus.sock". */
async function startBus(dir: UserDir): Promise<Program> {
  const path = dir.file("bus.sock");
  await Deno.writeTextFile(dir.file("bus.conf"), BUS.replace("PATH", path));
  const command = ["dbus-daemon", `--config-file=${dir.file("bus.conf")}`, "--nofork"];
  return await start([...command, "--nopidfile"], path);
}

const SERVICE = `
import dbus, dbus.service, dbus.bus, os, sys
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
class Files(dbus.service.Object):
    @dbus.service.method("org.example.Files", in_signature="h", out_signature="h")
    def Swap(self, given):
        with os.fdopen(given.take()) as file: text = file.read()
        ours, theirs = os.pipe()
        os.write(theirs, text.upper().encode())
        os.close(theirs)
        return dbus.types.UnixFd(ours)
bus = dbus.bus.BusConnection(sys.argv[1], mainloop=DBusGMainLoop())
name = dbus.service.BusName("org.example.Files", bus)
Files(bus, "/")
print("ready", flush=True)
GLib.MainLoop().run()
`;

const CLIENT = `
import dbus, dbus.bus, os, sys
bus = dbus.bus.BusConnection(sys.argv[1])
files = dbus.Interface(bus.get_object("org.example.Files", "/"), "org.example.Files")
for i in range(100):
    ours, theirs = os.pipe()
    os.write(theirs, b"text %d" % i)
    os.close(theirs)
    swapped = files.Swap(dbus.types.UnixFd(ours))
    os.close(ours)
    with os.fdopen(swapped.take()) as file: assert file.read() == "TEXT %d" % i
print("done")
`;

for (const way of ["relay", "tap"]) {
  test(`dbus-send calls D-Bus through uds ${way}, which it accepts as the same user`, async () => {
    await using dir = new UserDir();
    await using bus = await startBus(dir);
    const relayed = dir.file("relayed.sock");
    await using relay = await Relay.run(way, "--descriptors", relayed, dir.file("bus.sock"));
    const send = ["dbus-send", `--bus=unix:path=${relayed}`, "--print-reply=literal"];
    const call = (method: string, ...args: string[]) =>
      output([
        ...send,
        "--dest=org.freedesktop.DBus",
        "/",
        `org.freedesktop.DBus.${method}`,
        ...args,
      ]);
    assertEquals((await call("ListNames")).match(/org\.freedesktop\.DBus/g)?.length, 1);
    const user = Deno.uid() === 0 ? 65534 : Deno.uid();
    const asked = await call("GetConnectionUnixUser", "string:org.freedesktop.DBus");
    assertEquals(asked.trim(), `uint32 ${user}`);
    await relay.end();
    await stop(bus);
    const what = "authentication as the same user, two calls of the bus";
    const version = ["dbus-daemon", "--version"];
    await checked("D-Bus, `dbus-send`", version, `\`uds ${way} --descriptors\``, what);
  }, { needs: ["dbus-daemon", "dbus-send"] });

  test(`D-Bus passes 200 descriptors through uds ${way} --descriptors`, async () => {
    await using dir = new UserDir();
    await using bus = await startBus(dir);
    const [path, relayed] = [dir.file("bus.sock"), dir.file("relayed.sock")];
    await using relay = await Relay.run(way, "--descriptors", relayed, path);
    const [program = "", ...args] = asUser("/usr/bin/python3", "-c", SERVICE, `unix:path=${path}`);
    await using service = new Program(program, args);
    assertEquals(await service.line(), "ready");
    const client = ["/usr/bin/python3", "-c", CLIENT, `unix:path=${relayed}`];
    assertEquals(await output(client), "done\n");
    await relay.end();
    await stop(service);
    await stop(bus);
    const what = "200 descriptors with calls and their answers, 100 each way";
    const version = ["dbus-daemon", "--version"];
    await checked("D-Bus, python3-dbus", version, `\`uds ${way} --descriptors\``, what);
  }, { needs: ["dbus-daemon"], deadline: 30_000 });
}

test("X11 clients use Xvfb through uds relay", async () => {
  const sockets = "/tmp/.X11-unix";
  const isThere = await Deno.stat(sockets).then(() => true, () => false);
  await using dir = new UserDir();
  const [program = "", ...args] = asUser("Xvfb", "-displayfd", "1", "-ac", "-noreset");
  await using server = new Program(program, args, { cwd: dir.path });
  const display = Number(await server.line());
  // Clients know a socket by the number of its display, in this directory only.
  const relayed = display + 1000;
  await using relay = await Relay.start(`${sockets}/X${relayed}`, `${sockets}/X${display}`);
  const env = { DISPLAY: `:${relayed}`, HOME: dir.path };
  assertStringIncludes(await output(["xdpyinfo"], { env }), "The X.Org Foundation");
  const value = "x".repeat(100_000);
  await output(["xprop", "-root", "-f", "UDS", "8s", "-set", "UDS", value], { env });
  const read = await output(["xprop", "-root", "-len", "200000", "UDS"], { env });
  assertEquals(read.trim(), `UDS(STRING) = "${value}"`);
  await relay.end();
  await stop(server);
  if (!isThere) await Deno.remove(sockets);
  const what = "the display's data, a property of 100 KB set and read";
  const version = ["dpkg-query", "-W", "-f", "${Version}", "xvfb"];
  await checked("Xvfb, `xdpyinfo`, `xprop`", version, "`uds relay`", what);
}, { needs: ["Xvfb", "xdpyinfo", "xprop"], deadline: 30_000 });

test("messages() and json() control mpv", async () => {
  interface Message {
    event?: string;
    reason?: string;
    request_id?: number;
    error?: string;
    data?: unknown;
  }
  await using dir = new UserDir();
  const path = dir.file("mpv.sock");
  const quiet = ["--no-config", "--no-terminal", "--no-video", "--vo=null", "--ao=null"];
  const env = { HOME: dir.path };
  await using player = await start(
    ["mpv", ...quiet, "--idle", `--input-ipc-server=${path}`],
    path,
    { env },
  );
  await using session = messages(await connect(path), json<Message, unknown>(lines()));
  const events: Message[] = [];
  let sent = 0;
  /** Sends a command, and returns its result. Events come at any time. */
  const command = async (...words: unknown[]) => {
    await session.send({ command: words, request_id: ++sent });
    for (;;) {
      const message = (await session.receive())!;
      if (message.event !== undefined) {
        events.push(message);
        continue;
      }
      assertEquals([message.request_id, message.error], [sent, "success"]);
      return message.data;
    }
  };
  await command("set_property", "volume", 42);
  assertEquals(await command("get_property", "volume"), 42);
  for (let i = 0; i < 1000; i++) await command("get_property", "pause");
  // A tone of 200 ms, which is decoded and played to nowhere.
  await command("loadfile", "av://lavfi:sine=d=0.2");
  while (!events.some(({ event }) => event === "end-file")) {
    events.push((await session.receive())!);
  }
  assert(events.some(({ event }) => event === "playback-restart"));
  assertEquals(events.find(({ event }) => event === "end-file")?.reason, "eof");
  await session.send({ command: ["quit"] });
  while (await session.receive() !== undefined);
  assertEquals((await player.status).code, 0);
  const what = "1,002 commands and their results, a tone played to its end, events, `quit`";
  await checked("mpv", ["mpv", "--version"], "`messages()` with `json()`", what);
}, { needs: ["mpv"], deadline: 30_000 });
