/** Servers that read and write their standard streams, one process for each connection. */

import { assertEquals } from "@std/assert";
import { Process, udsCommand } from "../_cli.ts";
import { decode, pseudoRandom, run, TempDir, test } from "../_helpers.ts";
import { sshd } from "../_sshd.ts";
import { checked, endUds, startUds } from "./_programs.ts";

test("git clones and pushes 10 MB over uds serve and uds connect", async () => {
  await using dir = new TempDir();
  const path = dir.file("git.sock");
  const proxy = dir.file("proxy");
  // git calls it with a host and a port.
  const line = udsCommand(["connect", path], ["-A"]).map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(proxy, `#!/bin/sh\nexec ${line}\n`, { mode: 0o700 });
  const user = ["-c", "user.name=uds", "-c", "user.email=uds@localhost"];
  const options = [...user, "-c", "init.defaultBranch=main", "-c", `core.gitProxy=${proxy}`];
  const git = async (...args: string[]) => {
    const { code, stdout, stderr } = await run("git", [...options, ...args]);
    assertEquals(code, 0, `git ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const [bare, work, clone] = [dir.file("repo.git"), dir.file("work"), dir.file("clone")];
  await git("init", "--quiet", "--bare", bare);
  await git("init", "--quiet", work);
  const daemon = ["git", "daemon", "--inetd", "--export-all", "--enable=receive-pack"];
  await using server = await startUds("serve", path, "--", ...daemon, `--base-path=${dir.path}`);

  const url = "git://localhost/repo.git";
  for (const seed of [1, 2]) {
    await Deno.writeFile(`${work}/data`, pseudoRandom(5_000_000, seed));
    await git("-C", work, "add", "data");
    await git("-C", work, "commit", "--quiet", "-m", `data ${seed}`);
    await git("-C", work, "push", "--quiet", url, "main");
  }
  await git("clone", "--quiet", url, clone);
  await git("-C", clone, "fsck", "--strict");
  assertEquals(
    await git("-C", clone, "rev-parse", "HEAD"),
    await git("-C", work, "rev-parse", "HEAD"),
  );
  assertEquals(await Deno.readFile(`${clone}/data`), pseudoRandom(5_000_000, 2));
  await endUds(server);
  const what = "10 MB pushed in two commits, cloned, and checked by `git fsck`";
  await checked("git, `git daemon`", ["git", "--version"], "`uds serve`, `uds connect`", what);
}, { needs: ["git"], deadline: 30_000 });

test("ssh logs in to sshd over uds serve and uds connect", async () => {
  await using dir = new TempDir();
  const path = dir.file("ssh.sock");
  const [, start = "", ...options] = await sshd(dir);
  const daemon = start.replace("ProxyCommand=", "").split(" ");
  await using server = await startUds("serve", path, "--", ...daemon);
  const proxy = `ProxyCommand=${udsCommand(["connect", path], ["-A"]).join(" ")}`;
  const data = pseudoRandom(5_000_000, 3);
  await Promise.all([1, 2, 3].map(async (status) => {
    const command = ["ssh", "-o", proxy, ...options, "localhost", `cat; exit ${status}`];
    await using ssh = new Process(command, { input: data });
    const { code, stdout, stderr } = await ssh.ended;
    assertEquals(code, status, stderr);
    assertEquals(stdout, data, decode(stdout.subarray(0, 100)));
  }));
  await endUds(server);
  const what = "3 sessions at once: 5 MB there and back each, the status of the command";
  await checked("OpenSSH, `sshd`", ["ssh", "-V"], "`uds serve`, `uds connect`", what);
}, { needs: ["ssh", "sshd", "ssh-keygen"], deadline: 30_000 });
