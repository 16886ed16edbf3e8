import { assertEquals } from "@std/assert";
import { serve } from "@uds/uds";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { encode, Program, readAll, TempDir, test } from "../_helpers.ts";

for (const message of ["", "\n"]) {
  test(`uds send of ${JSON.stringify(message)} prints what a server sends first`, async () => {
    await using dir = new TempDir();
    await using _server = await serve(dir.file("s.sock"), async (conn) => {
      await conn.write(encode("12:00\n"));
      if (message !== "") await readAll(conn);
    });
    const { code, stdout, stderr } = await uds(["send", dir.file("s.sock"), message]);
    assertEquals([code, stdout, stderr], [0, "12:00\n", ""]);
  });
}

for (
  const [flags, args, state] of [
    [FLAGS, ["hi"], ""],
    [["-A"], ["hi"], "stopped"],
    [FLAGS, ["--framing", "lines", "hi"], ""],
  ] as const
) {
  const title = `uds send --timeout ends where a server is stopped, ${flags[0]} ${args.join(" ")}`;
  test(title, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = new Process(udsCommand(["echo", path]));
    await server.stderr.until("listening");
    server.kill("SIGSTOP");
    const options = { flags: [...flags] };
    const { code, stderr } = await uds(["send", "--timeout", "0.3", path, ...args], options);
    const what = state === "" ? "" : `. Its process ${server.pid} is stopped`;
    assertEquals([code, stderr], [8, `uds: Got no answer from "${path}" within 0.3 s${what}\n`]);
  });
}

test("uds send --timeout does not limit an answer that keeps coming", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    for (const word of ["a", "b", "c", "d"]) {
      await conn.write(encode(word));
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  });
  const args = ["send", "--timeout", "0.7", dir.file("s.sock"), ""];
  const { code, stdout } = await uds(args);
  assertEquals([code, stdout], [0, "abcd"]);
});

/** Serves one client without reading, and without an end. */
const DEAF = `
import socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
client, _ = server.accept()
client.shutdown(socket.SHUT_RD)
print("deaf", flush=True)
time.sleep(3600)`;

test("uds send --timeout ends where a server reads nothing more, and does not end", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Program("python3", ["-c", DEAF, path]);
  assertEquals(await server.line(), "ready");
  await using client = new Process(udsCommand(["send", "--timeout", "0.3", path]), {
    input: "open",
  });
  assertEquals(await server.line(), "deaf");
  await client.type("hi");
  const { code, stderr } = await client.ended;
  assertEquals([code, stderr], [8, `uds: Got no answer from "${path}" within 0.3 s\n`]);
}, { needs: ["python3"] });
