/**
 * Paths on file systems of every kind. Only the program under test sees each mount.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoArgs, ROOT, run, TempDir, test } from "../_helpers.ts";

/**
 * Runs a program of `tests/fixtures` after shell commands, `mount`, have prepared the directory
 * `$M`.
 */
async function runMounted(
  directory: string,
  mount: string,
  script: string,
  args: (m: string) => string[],
  flags: string[] = ["-A"],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const m = `${directory}/m`;
  await Deno.mkdir(m);
  const lines = `set -e; cd "$W"; ${mount}\nexec "$@"`;
  return await run("env", [
    `W=${directory}`,
    `M=${m}`,
    `CONFIG=${ROOT}/deno.json`,
    ...["unshare", "--mount", "sh", "-c", lines, "sh"],
    ...[Deno.execPath(), ...denoArgs(script, flags, args(m))],
  ]);
}

/** Returns the lines of JSON that a program prints as one object. */
function factsOf({ stdout, stderr }: { stdout: string; stderr: string }): Record<string, unknown> {
  try {
    return Object.fromEntries(stdout.trimEnd().split("\n").map((line) => JSON.parse(line)));
  } catch {
    throw new Error(`No lines of JSON: ${stdout}${stderr}`);
  }
}

/** Returns the commands that make and mount an ext4 file system of 4 MiB in a file. */
const ext4 = (options: string) =>
  `truncate -s 4M image; mke2fs -q -t ext4 -O ^has_journal ${options} image >/dev/null 2>&1; ` +
  `mount -o loop image "$M"`;

const OVERLAY =
  `mkdir layers; mount -t tmpfs none layers; mkdir layers/lower layers/upper layers/work; ` +
  `mount -t overlay -o lowerdir=layers/lower,upperdir=layers/upper,workdir=layers/work none "$M"`;

/** File systems on which everything works. */
const WORKING: Record<string, string> = {
  "tmpfs without programs, devices and links":
    `mount -t tmpfs -o noexec,nodev,nosuid,nosymfollow none "$M"`,
  "ramfs, which has no time of birth": `mount -t ramfs none "$M"`,
  "ext4 with inodes of 128 bytes, which have no time of birth": ext4("-I 128"),
  "FUSE, which has no time of birth and reuses inode numbers at once":
    `mkdir under; bindfs under "$M"`,
  "overlayfs": OVERLAY,
};

test("serve() and claim() own a path on file systems of every kind", async (t) => {
  const results = Object.entries(WORKING).map(async ([what, mount]) => {
    await using dir = new TempDir();
    return [what, await runMounted(dir.path, mount, "file_system_use.ts", (m) => [m])] as const;
  });
  for (const [what, result] of await Promise.all(results)) {
    await t.step(what, () => {
      assertEquals(factsOf(result), {
        "left by direct": [],
        "left by a crash, direct": true,
        "after a crash, direct": [],
        "left by rename": [],
        "left by a crash, rename": true,
        "after a crash, rename": [],
        "left by claim": [],
        "lost to another program": "socket",
        "left to another program": ["lost"],
      });
    });
  }
}, { root: true, needs: ["unshare", "mke2fs", "bindfs"], deadline: 20_000 });

/**
 * File systems on which a start is refused: the code, what was there before, and a part of the
 * message.
 */
const REFUSING: Record<
  string,
  [mount: string, code: string | undefined, before?: string[], says?: string]
> = {
  "a read-only one": [`mount -t tmpfs -o ro none "$M"`, "EROFS"],
  "a full one": [`mount -t tmpfs -o size=4k none "$M"; echo > "$M/full"`, "ENOSPC", ["full"]],
  "one that has no inode left for the socket": [
    `mount -t tmpfs -o nr_inodes=2 none "$M"`,
    "ENOSPC",
  ],
  "one that has no inode left for the lock": [`mount -t tmpfs -o nr_inodes=1 none "$M"`, "ENOSPC"],
  "an immutable directory": [
    `${ext4("-I 256")}; rmdir "$M/lost+found"; chattr +i "$M"`,
    "EPERM",
  ],
  "one that follows no symbolic link": [
    `mount -t tmpfs -o nosymfollow none "$M"; mkdir "$M/real"; ln -s real "$M/link"; ` +
    `export REAL="$M/real"`,
    "ELOOP",
    [],
    "or one on a file system that follows none",
  ],
  "one without sockets, as vfat (bind fails)": [
    `set -- strace -f -qq -o "$W/trace" -e trace=bind -e inject=bind:error=EPERM "$@"`,
    "EPERM",
  ],
  "any, under a umask that takes the owner's write permission": [
    `umask 0277`,
    undefined,
    [],
    'Run it under "umask 077"',
  ],
  "any, under a umask that takes everything": [
    `umask 0777`,
    undefined,
    [],
    'Run it under "umask 077"',
  ],
};

test("serve() leaves nothing on a file system that refuses it", async (t) => {
  const results = Object.entries(REFUSING).map(async ([what, [mount, ...expected]]) => {
    await using dir = new TempDir();
    const args = (m: string) => [mount.includes("REAL") ? `${m}/link` : m];
    return [what, expected, await runMounted(dir.path, mount, "file_system_use.ts", args)] as const;
  });
  for (const [what, [code, before = [], says = ""], result] of await Promise.all(results)) {
    await t.step(what, () => {
      const facts = factsOf(result);
      assertEquals(Object.keys(facts), ["refused direct", "refused rename"]);
      for (const fact of Object.values(facts) as Record<string, unknown>[]) {
        assertEquals([fact.code, fact.left], [code, before]);
        assertStringIncludes(fact.message as string, "Cannot serve on ");
        assertStringIncludes(fact.message as string, says);
      }
    });
  }
}, { root: true, needs: ["unshare", "mke2fs", "chattr", "strace"] });

test("serve() names what it cannot remove from a directory that only takes files", async () => {
  await using dir = new TempDir();
  const mount = `${ext4("-I 256")}; rmdir "$M/lost+found"; chattr +a "$M"`;
  const result = await runMounted(dir.path, mount, "file_system_use.ts", (m) => [m]);
  const { name, code, message, left } = factsOf(result)["refused direct"] as Record<
    string,
    unknown
  >;
  assertEquals([name, code, left], ["PermissionDenied", "EPERM", ["direct", "direct.lock"]]);
  const path = `${dir.path}/m/direct`;
  assertStringIncludes(message as string, `Cannot remove "${path}" and its lock: operation not`);
}, { root: true, needs: ["unshare", "mke2fs", "chattr"] });

// ---- The other side of a mount ------------------------------------------------------------------

const OTHER_SIDE = `mkdir under; bindfs under "$M"`;
const SCOPED = ["--allow-read", "--allow-write", "--allow-net"];

for (const flags of [["-A"], SCOPED]) {
  const how = flags === SCOPED ? "without the permission to ask for its type" : "";
  test(
    `serve() leaves a server on the other side of a FUSE mount alone ${how}`.trim(),
    async () => {
      await using dir = new TempDir();
      const result = await runMounted(
        dir.path,
        OTHER_SIDE,
        "file_system_sides.ts",
        (m) => [m, `${dir.path}/under`],
        flags,
      );
      const refused = ["SocketInUse", true];
      assertEquals(factsOf(result), {
        "uds direct, serve direct": refused,
        "uds direct, serve rename": refused,
        "uds direct, serve replace": refused,
        "uds direct, claim": refused,
        "uds rename, serve direct": refused,
        "uds rename, serve rename": refused,
        "uds rename, serve replace": refused,
        "uds rename, claim": refused,
        "other, serve direct": refused,
        "other, serve rename": refused,
        "other, serve replace": refused,
        "other, claim": refused,
        "says":
          "no server answers there, but its file system may be shared with another machine or " +
          "process (FUSE, NFS and the like), where its server runs. If it does not, remove the file " +
          "by hand, or choose another path",
        "left": ["other", "uds direct", "uds direct.lock", "uds rename", "uds rename.lock"],
        "locks": [true, true],
        "healing": ["socket", false, true],
      });
    },
    { root: true, needs: ["unshare", "bindfs"] },
  );
}

for (
  const [what, mount] of [["ramfs", `mount -t ramfs none "$M"`], ["overlayfs", OVERLAY]] as const
) {
  test(`serve() replaces the stale socket of another program on ${what}`, async () => {
    await using dir = new TempDir();
    const args = (m: string) => [m];
    const result = await runMounted(dir.path, mount, "file_system_stale.ts", args);
    assertEquals(factsOf(result), { "left": [] });
  }, { root: true, needs: ["unshare"] });
}

test("serve() has one owner at a time below a symbolic link without times of birth", async () => {
  await using dir = new TempDir();
  const path = `${dir.path}/m/link/a`;
  const witness = dir.file("witness");
  const files = `${path},${path}.lock,${witness}`;
  const flags = [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
  // The line that starts one program starts three more first, and waits for them.
  const mount = `${ext4("-I 128")}; mkdir "$M/real"; ln -s real "$M/link"\n` +
    `for i in 1 2 3; do "$@" & done; "$@"; wait; set -- true`;
  const args = () => [path, witness, "2"];
  const { stdout, stderr } = await runMounted(dir.path, mount, "race_owner_loop.ts", args, flags);
  const counts = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(counts.map(({ violations }) => violations), [[], [], [], []], stderr);
  assert(counts.some(({ acquisitions }) => acquisitions.some((count: number) => count > 0)));
}, { root: true, needs: ["unshare", "mke2fs"] });
