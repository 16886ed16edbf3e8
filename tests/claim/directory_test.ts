import {
  claim,
  type ClaimOptions,
  InsecurePath,
  listen,
  type ListenOptions,
  permissionFlags,
  permissions,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { denoArgs, run, TempDir, test } from "../_helpers.ts";
import { attackBySwaps } from "../_swap.ts";

/** The directory of a socket: which users may exchange its files, and what is done about that. */

const NOBODY = 65534;

type OwnOptions = ClaimOptions & Pick<ListenOptions, "publish">;

/** Listens for an instant. Returns owner, group and mode of the socket. */
async function rightsOf(path: string, options: OwnOptions): Promise<string> {
  await using _listener = await listen({ path, ...options });
  const { uid, gid, mode } = Deno.lstatSync(path);
  return `${uid}:${gid} 0${((mode ?? 0) & 0o7777).toString(8)}`;
}

/** Returns the error that a start rejects with. */
async function refusalOf(path: string, options: OwnOptions): Promise<InsecurePath> {
  const error = await assertRejects(() => listen({ path, ...options }), InsecurePath);
  assertEquals([error.operation, error.code], ["listen", "EPERM"]);
  return error;
}

/** Directories in which another user can exchange a socket, in each possible way. */
const UNSAFE: Record<string, { make: (dir: TempDir) => string; says: (dir: TempDir) => string }> = {
  "a directory that others may write to": {
    make: (dir) => directory(dir.file("open"), 0o777),
    says: (dir) => `its directory "${dir.file("open")}" is not safe: others may write to it`,
  },
  "a directory that its group may write to": {
    make: (dir) => directory(dir.file("open"), 0o2770),
    says: (dir) => `its directory "${dir.file("open")}" is not safe: others may write to it`,
  },
  "a directory of another user": {
    make: (dir) => directory(dir.file("theirs"), 0o755, NOBODY),
    says: (dir) => `its directory "${dir.file("theirs")}" is not safe: it belongs to uid ${NOBODY}`,
  },
  "a sticky directory of another user": {
    make: (dir) => directory(dir.file("theirs"), 0o1777, NOBODY),
    says: (dir) => `its directory "${dir.file("theirs")}" is not safe: it belongs to uid ${NOBODY}`,
  },
  "a directory below one that others may write to": {
    make: (dir) => directory(`${directory(dir.file("open"), 0o777)}/run`, 0o700),
    says: (dir) =>
      `on the way to it, "${
        dir.file("open")
      }" is not safe: others may write to it (mode 0777, no ` +
      `sticky bit)`,
  },
  "a directory below one of another user": {
    make: (dir) => directory(`${directory(dir.file("theirs"), 0o755, NOBODY)}/run`, 0o700),
    says: (dir) => `on the way to it, "${dir.file("theirs")}" is not safe: it belongs to uid`,
  },
  "a directory of another user below a sticky one": {
    make: (dir) => `${directory(`${directory(dir.file("s"), 0o1777)}/theirs`, 0o700, NOBODY)}`,
    says: (dir) => `its directory "${dir.file("s/theirs")}" is not safe: it belongs to uid`,
  },
  "a directory below a link that others may exchange": {
    make: (dir) => {
      directory(dir.file("real"), 0o755);
      directory(dir.file("real/run"), 0o755);
      Deno.symlinkSync("../real", `${directory(dir.file("open"), 0o777)}/link`);
      return dir.file("open/link/run");
    },
    says: (dir) => `on the way to it, "${dir.file("open")}" is not safe: others may write to it`,
  },
  "a directory below another user's link in a sticky one": {
    make: (dir) => {
      directory(dir.file("real"), 0o755);
      directory(dir.file("real/run"), 0o755);
      const link = `${directory(dir.file("s"), 0o1777)}/link`;
      Deno.symlinkSync(dir.file("real"), link);
      chownLink(link);
      return `${link}/run`;
    },
    says: (dir) =>
      `on the way to it, "${dir.file("s/link")}" is not safe: it is a symbolic link of`,
  },
  "a directory below a link to one of another user": {
    make: (dir) => {
      directory(`${directory(dir.file("theirs"), 0o755, NOBODY)}/run`, 0o755);
      Deno.symlinkSync(dir.file("theirs"), dir.file("link"));
      return dir.file("link/run");
    },
    says: (dir) => `on the way to it, "${dir.file("theirs")}" is not safe: it belongs to uid`,
  },
};

/** Makes a directory, with its mode and its owner. */
function directory(path: string, mode: number, uid?: number): string {
  Deno.mkdirSync(path);
  if (uid !== undefined) Deno.chownSync(path, uid, uid);
  Deno.chmodSync(path, mode);
  return path;
}

function chownLink(path: string): void {
  new Deno.Command("chown", { args: ["-h", `${NOBODY}`, path] }).outputSync();
}

for (const [where, { make, says }] of Object.entries(UNSAFE)) {
  test(`verifyDirectory refuses ${where}`, async () => {
    await using dir = new TempDir(0o755);
    const path = `${make(dir)}/a.sock`;
    for (const publish of ["direct", "rename"] as const) {
      const { message } = await refusalOf(path, { verifyDirectory: true, publish });
      assertStringIncludes(message, `Cannot listen on "${path}": ${says(dir)}`);
    }
    await assertRejects(() => claim(path, { verifyDirectory: true }), InsecurePath, says(dir));
    assertEquals([...Deno.readDirSync(path.slice(0, -7))], []);
  }, { root: true });

  test(`listen() in ${where} takes every mode, and changes no owner`, async () => {
    await using dir = new TempDir(0o755);
    const path = `${make(dir)}/a.sock`;
    for (const publish of ["direct", "rename"] as const) {
      // Read and execute have no effect on a socket, so they stay as created.
      assertEquals(await rightsOf(path, { publish }), "0:0 0700");
      assertEquals(await rightsOf(path, { publish, mode: 0o660 }), "0:0 0760");
      assertEquals(await rightsOf(path, { publish, mode: 0o666 }), "0:0 0766");
      assertEquals(await rightsOf(path, { publish, uid: 0, gid: 0 }), "0:0 0700");
      for (const owner of [{ uid: NOBODY }, { gid: NOBODY }, { uid: 1, gid: 0, mode: 0o660 }]) {
        const error = await refusalOf(path, { publish, ...owner });
        assertStringIncludes(error.message, `Cannot listen on "${path}": ${says(dir)}`);
        assertStringIncludes(error.message, "Its owner cannot be set there without risk");
        assertEquals("cleanupError" in error, false);
      }
    }
    assertEquals([...Deno.readDirSync(path.slice(0, -7))], []);
  }, { root: true });
}

/** Directories in which no other user can exchange a socket. */
const SAFE: Record<string, (dir: TempDir) => string> = {
  "a directory of its own": (dir) => directory(dir.file("run"), 0o755),
  "a sticky directory": (dir) => directory(dir.file("s"), 0o1777),
  "a directory of its own below a sticky one": (dir) =>
    directory(`${directory(dir.file("s"), 0o1777)}/run`, 0o755),
  "a directory below a link of its own in a sticky one": (dir) => {
    directory(dir.file("real"), 0o755);
    directory(dir.file("real/run"), 0o755);
    Deno.symlinkSync("../real/../real", `${directory(dir.file("s"), 0o1777)}/link`);
    return dir.file("s/link/run");
  },
};

for (const [where, make] of Object.entries(SAFE)) {
  test(`verifyDirectory accepts ${where}, and every mode and owner can be set there`, async () => {
    await using dir = new TempDir(0o755);
    const path = `${make(dir)}/a.sock`;
    for (const verifyDirectory of [true, false]) {
      for (const publish of ["direct", "rename"] as const) {
        const rights = (options: OwnOptions) =>
          rightsOf(path, { verifyDirectory, publish, ...options });
        assertEquals(await rights({}), "0:0 0600");
        assertEquals(await rights({ mode: 0o666 }), "0:0 0666");
        assertEquals(await rights({ uid: 1, gid: 2, mode: 0o660 }), "1:2 0660");
      }
    }
  }, { root: true });
}

test("verifyDirectory refuses a directory that was made anew below another user's", async () => {
  await using dir = new TempDir(0o1777);
  const path = `${directory(dir.file("app"), 0o777, NOBODY)}/run/a.sock`;
  const { message, path: at } = await refusalOf(path, {
    createDirectory: true,
    verifyDirectory: true,
  });
  assertEquals(at, dir.file("app"));
  assertStringIncludes(message, `on the way to it, "${at}" is not safe: it belongs to uid`);
}, { root: true });

test("listen() in a group's directory takes a socket that is created in that group", async () => {
  await using dir = new TempDir(0o755);
  const shared = directory(dir.file("shared"), 0o770);
  Deno.chownSync(shared, 0, NOBODY);
  Deno.chmodSync(shared, 0o2770);
  const path = `${shared}/a.sock`;
  assertEquals(await rightsOf(path, { gid: NOBODY, mode: 0o660 }), `0:${NOBODY} 0760`);
}, { root: true });

/** Runs an owner of a path under a umask, without the permission to set it. */
async function ownUnder(umask: string, path: string, options: OwnOptions, flags: string[]) {
  const args = denoArgs("fault_owner.ts", flags, [path, "listen", JSON.stringify(options)]);
  const script = `umask ${umask}; exec "$0" "$@"`;
  const { stdout } = await run("sh", ["-c", script, Deno.execPath(), ...args]);
  return stdout.trim().split("\n");
}

test("listen() where others may swap names needs no chmod if the umask is right already", async () => {
  await using dir = new TempDir(0o777);
  const path = dir.file("a.sock");
  const flags = ["--allow-read", "--allow-write", "--allow-net"];
  const rows = [["022", 0o600], ["077", 0o600], ["000", 0o666], ["007", 0o660]] as const;
  await Promise.all(rows.map(async ([umask, mode], i) => {
    assertEquals(await ownUnder(umask, `${path}${i}`, { mode }, flags), ["ready", "closed"]);
  }));
  const wrong = [["022", 0o666], ["000", 0o600], ["022", 0o660]] as const;
  await Promise.all(wrong.map(async ([umask, mode], i) => {
    const [line] = await ownUnder(umask, `${path}${i}`, { mode }, flags);
    const { name, message, operation } = JSON.parse(line!);
    assertEquals([name, operation], ["InsecurePath", "listen"]);
    assertStringIncludes(
      message,
      `its directory "${dir.path}" is not safe: others may write to it`,
    );
    assertStringIncludes(message, "Its mode cannot be set there");
    assertStringIncludes(message, "or run with --allow-sys");
  }));
  assertEquals(dir.list(), []);
});

test("listen() that needs no chmod asks for no permission for its directory", async () => {
  await using dir = new TempDir(0o777);
  const path = dir.file("a.sock");
  const flags = permissionFlags(permissions("serve", path));
  assertEquals(await ownUnder("022", path, {}, flags), ["ready", "closed"]);
  assertEquals(await ownUnder("000", path, { mode: 0o666 }, flags), ["ready", "closed"]);
});

test(
  "listen() without permission for its directory names the flag where it needs chmod or chown",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const flags = permissionFlags(permissions("serve", path));
    const rows = [
      ["000", {}, "mode"],
      ["022", { mode: 0o666 }, "mode"],
      ["022", { mode: 0o660 }, "mode"],
      ["022", { uid: NOBODY }, "owner"],
      ["022", { gid: NOBODY, mode: 0o660 }, "owner"],
    ] as const;
    const above = permissions("serve", path, { mode: 0o666 }).read as string[];
    const unseen = above.filter((name) => !name.startsWith(path)).reverse();
    await Promise.all(rows.map(async ([umask, options, what], i) => {
      const socket = `${path}${i}`;
      const flags = permissionFlags(permissions("serve", socket));
      const [line] = await ownUnder(umask, socket, options, flags);
      const { name, message, operation } = JSON.parse(line!);
      assertEquals([name, operation], ["NotCapable", "listen"]);
      assertEquals(
        message,
        `Cannot listen on "${socket}": its ${what} can be set only in a directory that is known to be ` +
          `safe: a Deno permission is missing. Run again with --allow-read=${unseen.join()}`,
      );
      const enough = permissionFlags(permissions("serve", socket, { mode: 0o666, ...options }));
      assertEquals(await ownUnder(umask, socket, options, enough), ["ready", "closed"]);
    }));
    assertEquals(await ownUnder("022", path, {}, flags), ["ready", "closed"]);
    assertEquals(dir.list(), []);
  },
  { root: true },
);

// ---- Another user who swaps names ---------------------------------------------------------------

const NEEDS = { root: true, needs: ["gcc", "setpriv"], deadline: 20_000 };

for (
  const [what, options, succeeds] of [
    ["a mode", { mode: 0o666 }, true],
    ['a mode, and publish: "rename"', { mode: 0o666, publish: "rename" }, true],
    ["a user and a group", { mode: 0o660, uid: NOBODY, gid: NOBODY }, false],
  ] as const
) {
  test(`listen() with ${what} changes no other file while another user swaps names`, async () => {
    const { changed, outcomes, swaps } = await attackBySwaps({
      ...{ how: "listen", options, ms: 700, starts: 100 },
    });
    assertEquals(changed, 0);
    assertEquals(Object.keys(outcomes).filter((name) => name.endsWith("(raw)")), []);
    assert(swaps > 0, "nothing was swapped");
    assertEquals((outcomes.none ?? 0) > 0, succeeds);
  }, NEEDS);
}

for (
  const [what, options] of [["a mode", { mode: 0o666 }], ["a user", { uid: NOBODY }], [
    "the default mode",
    {},
  ]] as const
) {
  test(`listen() with ${what} that sees only its socket changes no other file`, async () => {
    const { changed, outcomes } = await attackBySwaps({
      ...{ how: "listen", options, ms: 700, starts: 100 },
      flags: (path, victim) => [
        ...permissionFlags(permissions("serve", path)),
        `--allow-read=${path},${path}.lock,${victim}`,
        `--allow-write=${path},${path}.lock,${victim}`,
      ],
    });
    assertEquals(changed, 0);
    assertEquals(Object.keys(outcomes).filter((name) => name.endsWith("(raw)")), []);
  }, NEEDS);
}
