/** A server of OpenSSH, which runs as this user and needs no port. */

import { assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import { run, type TempDir } from "./_helpers.ts";

/** Makes keys and a configuration for a server of this user. Returns the arguments of a client. */
export async function sshd(dir: TempDir): Promise<string[]> {
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
