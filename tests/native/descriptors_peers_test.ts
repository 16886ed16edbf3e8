import { closeSync } from "node:fs";
import { connect, pair, serve } from "@uds/uds";
import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
import { assertEquals } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  fixturePath,
  openDescriptors,
  readAll,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { contentOf, openFile, receive, untilOpen } from "./_descriptors.ts";

async function compile(dir: TempDir): Promise<string[]> {
  const program = dir.file("peer");
  const { code, stderr } = await run("gcc", ["-o", program, fixturePath("descriptors_peer.c")]);
  assertEquals(code, 0, stderr);
  return [program];
}

/** Peers that return each message with its descriptors. That in C reverses them. */
const PEERS: [string, needs: string[], (dir: TempDir) => Promise<string[]> | string[]][] = [
  ["Python", ["python3"], () => ["python3", fixturePath("descriptors_peer.py"), "echo", "3"]],
  ["C", ["gcc"], compile],
  ["Deno", [], () => [Deno.execPath(), ...denoArgs("descriptors_peer.ts", ["--allow-ffi"])]],
];

for (const [language, needs, command] of PEERS) {
  test(`Descriptors go to a child in ${language} and back, and none leaks`, async () => {
    await using dir = new TempDir();
    const [program = "", ...args] = await command(dir);
    const before = openDescriptors();
    {
      await using child = await pair(program, { args, descriptors: true });
      for (let i = 0; i < 20; i++) {
        const texts = Array.from({ length: i === 7 ? 253 : i }, (_, k) => `${i}.${k}`);
        const fds = texts.map((text) => openFile(dir, text));
        const data = encode(`message ${i}`);
        if (i === 0) await child.conn.write(data);
        else await sendDescriptors(child.conn, data, fds);
        fds.forEach(closeSync);
        const { text, descriptors } = await receive(child.conn);
        assertEquals(text, `message ${i}`);
        const found = await Promise.all(descriptors.map(contentOf));
        assertEquals(language === "C" ? found.reverse() : found, texts);
      }
      await child.conn.closeWrite();
      assertEquals(await receiveDescriptors(child.conn, new Uint8Array(1)), null);
      assertEquals(await child.status, { success: true, code: 0, signal: null });
    }
    await untilOpen(before);
  }, { needs });
}

test("Node's own channel passes sockets to a child of Node and back", async () => {
  await using dir = new TempDir();
  const before = openDescriptors();
  {
    const path = dir.file("a.sock");
    const received: string[] = [];
    await using server = await serve(path, async (conn) => {
      received.push(decode(await readAll(conn)));
    });
    const args = [fixturePath("descriptors_peer.mjs"), path];
    const env = { NODE_CHANNEL_FD: "3" };
    await using node = await pair("node", { args, env, descriptors: true });
    // Lines of JSON. A descriptor comes with the line that announces it.
    const line = { cmd: "NODE_HANDLE", type: "net.Socket", msg: "a socket" };
    {
      using client = await connect({ path, descriptors: true });
      await sendDescriptors(node.conn, encode(`${JSON.stringify(line)}\n`), [client]);
    }
    const descriptors = [];
    for (let text = ""; !text.includes("one of node");) {
      const next = await receive(node.conn);
      text += next.text;
      descriptors.push(...next.descriptors);
    }
    await node.conn.write(encode(`${JSON.stringify({ cmd: "NODE_HANDLE_ACK" })}\n`));
    assertEquals(descriptors.length, 1);
    {
      await using conn = descriptors[0]!.toConnection();
      await conn.write(encode("deno got one of node"));
    }
    await node.conn.closeWrite();
    await server.shutdown();
    assertEquals(received, ["node got a socket", "deno got one of node"]);
  }
  await untilOpen(before);
}, { needs: ["node"] });
