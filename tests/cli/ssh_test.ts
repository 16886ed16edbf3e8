import { assertEquals } from "@std/assert";
import { connect, serve } from "@uds/uds";
import { join } from "@std/path/posix";
import { Process, uds } from "../_cli.ts";
import { pseudoRandom, readAll, run, TempDir, test } from "../_helpers.ts";

/** Makes keys and a configuration for a server of this user. Returns the arguments of a client. */
async function sshd(dir: TempDir): Promise<string[]> {
  for (const name of ["host", "user"]) {
    const args = ["-q", "-t", "ed25519", "-N", "", "-f", dir.file(name)];
    assertEquals((await run("ssh-keygen", args)).code, 0);
  }
  await Deno.writeTextFile(
    dir.file("config"),
    [
      `HostKey ${dir.file("host")}`,
      `AuthorizedKeysFile ${dir.file("user.pub")}`,
      "StrictModes no",
      "PidFile none",
      "UsePAM no",
      "PermitRootLogin prohibit-password",
      "",
    ].join("\n"),
  );
  // sshd requires an absolute path of itself.
  const found = (Deno.env.get("PATH") ?? "").split(":").map((it) => join(it, "sshd"));
  const program = found.find((it) => {
    try {
      return Deno.statSync(it).isFile;
    } catch {
      return false;
    }
  });
  return [
    // No port is needed: the client starts the server, on its input and output.
    ...["-o", `ProxyCommand=${program} -i -f ${dir.file("config")}`],
    ...["-F", "none", "-i", dir.file("user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"],
    ...["-o", "StrictHostKeyChecking=no", "-o", `UserKnownHostsFile=${dir.file("known")}`],
  ];
}

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
