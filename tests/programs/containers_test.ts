import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { test } from "../_helpers.ts";
import { checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

test("curl imports an image into podman by Docker's API through uds relay", async () => {
  await using dir = new UserDir();
  const [path, relayed] = [dir.file("podman.sock"), dir.file("relayed.sock")];
  const home = { HOME: dir.path, XDG_RUNTIME_DIR: dir.path, TMPDIR: dir.path };
  // It would start itself anew in a namespace of its own, and leave a process that keeps that.
  const user = String(Deno.uid() === 0 ? 65534 : Deno.uid());
  const own = { _CONTAINERS_USERNS_CONFIGURED: "done", _CONTAINERS_ROOTLESS_UID: user };
  const namespace = ["unshare", "--user", "--map-root-user", "--mount"];
  const storage = ["--root", dir.file("root"), "--runroot", dir.file("run"), "--storage-driver"];
  const managers = ["vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"];
  const serve = ["system", "service", "--time=0", `unix://${path}`];
  await using server = await start(
    [...namespace, "podman", ...storage, ...managers, ...serve],
    path,
    { env: { ...home, ...own } },
  );
  try {
    await using relay = await Relay.start(relayed, path);
    const curl = (...args: string[]) =>
      output(["curl", "-sS", "--fail-with-body", "--unix-socket", relayed, ...args]);
    assertStringIncludes(await curl("http://d/v1.40/version"), '"Podman Engine"');
    await output(["sh", "-c", `head -c 30000000 /dev/urandom > ${dir.file("data")}`]);
    await output([
      "tar",
      "--owner=0",
      "--group=0",
      "-C",
      dir.path,
      "-cf",
      dir.file("image.tar"),
      "data",
    ]);
    const url = "http://d/v1.40/images/create?fromSrc=-&repo=uds";
    await curl(
      "-X",
      "POST",
      "-H",
      "Content-Type: application/x-tar",
      "-T",
      dir.file("image.tar"),
      url,
    );
    const images = JSON.parse(await curl("http://d/v1.40/images/json"));
    assertMatch(images[0].RepoTags[0], /uds:latest$/);
    assertEquals(images[0].Size > 30_000_000, true);
    const saved = `curl -sS --fail --unix-socket ${relayed} http://d/v1.40/images/uds/get`;
    const layer = `${saved} | tar -xO --wildcards "*.tar" | tar -xO data`;
    assertEquals(
      await output(["sh", "-c", `${layer} | sha256sum`]),
      await output(["sh", "-c", `sha256sum < ${dir.file("data")}`]),
    );
    await curl("-X", "DELETE", "http://d/v1.40/images/uds");
    assertEquals(await curl("http://d/v1.40/images/json"), "[]\n");
    await relay.end();
    const tapped = dir.file("tapped.sock");
    await using tap = await Relay.run("tap", tapped, path);
    const absent = "http://d/v1.40/containers/absent/json";
    const asked = ["curl", "-sS", "--unix-socket", tapped, "http://d/v1.40/version", absent];
    assertStringIncludes(await output(asked), "no such container");
    const shown = await tap.end();
    for (const line of ["GET /v1.40/version HTTP/1.1", "HTTP/1.1 404 Not Found"]) {
      assertStringIncludes(shown, line);
    }
  } finally {
    await stop(server);
    // Files of a namespace are those of this user, in directories that may be read-only.
    await output(["chmod", "-R", "u+rwX", dir.path]);
  }
  const what = "an image of 30 MB imported, listed, saved and compared by checksum, and removed";
  const version = ["podman", "--version"];
  await checked("podman, `curl`", version, "`uds relay`", what);
  await checked("podman, `curl`", version, "`uds tap`", "two requests and their answers are shown");
}, { needs: ["podman", "curl", "unshare"], deadline: 60_000 });
