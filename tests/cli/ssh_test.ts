import { assertEquals } from "@std/assert";
import { connect, serve } from "@uds/uds";
import { Process, uds } from "../_cli.ts";
import { pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";
import { sshd } from "../_sshd.ts";

async function digest(data: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data as BufferSource)).toHex();
}

test("ssh -L forwards a path to a server's, with half-close, as the README shows it", async () => {
  await using dir = new TempDir();
  const [near, far] = [dir.file("near.sock"), dir.file("far.sock")];
  await using _server = await serve(far, async (conn) => {
    await conn.write(await readAll(conn));
  });
  const options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", `${near}:${far}`];
  await using ssh = new Process(["ssh", ...await sshd(dir), ...options, "localhost"]);
  const { code, stdout, stderr } = await uds(["send", "--wait", near, "hello"]);
  assertEquals([code, stdout, stderr], [0, "hello", ""], await ssh.stderr.text());
  const data = pseudoRandom(1024 * 1024, 9);
  await using conn = await connect(near);
  const sent = conn.write(data).then(() => conn.closeWrite());
  assertEquals(await digest(await readAll(conn)), await digest(data));
  await sent;
}, { needs: ["ssh", "sshd", "ssh-keygen"] });
