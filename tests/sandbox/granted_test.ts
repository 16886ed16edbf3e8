import { pair, type PairOptions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { assertRefused, KINDS, moduleOf, saidJson, saying, write } from "./_sandbox.ts";

type Use = [kind: string, what: string];

/** Uses every kind of permission twice: once within the lists below, once outside them. */
async function uses(dir: TempDir, ports: number[]): Promise<Use[]> {
  await Deno.mkdir(dir.file("a"));
  await Deno.mkdir(dir.file("b"));
  return [
    ["read", dir.file("a")],
    ["read", dir.file("b")],
    ["write", dir.file("a")],
    ["write", dir.file("b")],
    ["net", `127.0.0.1:${ports[0]}`],
    ["net", `127.0.0.1:${ports[1]}`],
    ["env", "UDS_A"],
    ["env", "UDS_B"],
    ["sys", "hostname"],
    ["sys", "osRelease"],
    ["run", "/bin/true"],
    ["run", "/bin/sync"],
    ["ffi", "/lib/a.so"],
    ["ffi", "/lib/b.so"],
    ["import", "a.example"],
    ["import", "b.example"],
  ];
}

/** Asserts which of the uses are allowed to a module with some permissions. */
async function assertAllowed(
  grant: (uses: Use[]) => PairOptions["permissions"],
  isAllowed: (kind: string, index: number) => boolean,
): Promise<void> {
  await using dir = new TempDir();
  using first = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  using second = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const all = await uses(dir, [first.addr.port, second.addr.port]);
  const granted = grant(all);
  const { import: hosts } = granted === undefined || granted === "none" ? {} : granted;
  // Only a list of hosts limits imports from the cache.
  const isLimited = Array.isArray(hosts) && hosts.length > 0;
  const isExpected = (kind: string, index: number) =>
    isAllowed(kind, index) || kind === "import" && !isLimited;
  const outcomes = await saidJson(moduleOf("grants.ts"), {
    args: [JSON.stringify(all)],
    env: { UDS_A: "set", UDS_B: "set" },
    ...(granted !== undefined && { permissions: granted }),
  });
  assertEquals(
    all.map(([kind], i) => `${kind} ${i % 2}: ${(outcomes as string[])[i]}`),
    all.map(([kind], i) => `${kind} ${i % 2}: ${isExpected(kind, i % 2) ? "allowed" : "refused"}`),
  );
}

for (const kind of KINDS) {
  test(`pair(module) grants ${kind}: true, and nothing else`, async () => {
    await assertAllowed(() => ({ [kind]: true }), (used) => used === kind);
  });

  test(`pair(module) grants ${kind} for the entries of a list, and nothing else`, async () => {
    await assertAllowed(
      (all) => ({ [kind]: [all.find(([used]) => used === kind)?.[1] as string] }),
      (used, index) => used === kind && index === 0,
    );
  });
}

const NOTHING: Record<string, PairOptions["permissions"]> = {
  "no permissions": undefined,
  '"none"': "none",
  "{}": {},
  "false": Object.fromEntries(KINDS.map((kind) => [kind, false])),
  "empty lists": Object.fromEntries(KINDS.map((kind) => [kind, []])),
};

for (const [name, granted] of Object.entries(NOTHING)) {
  test(`pair(module) grants nothing for ${name}`, async () => {
    await assertAllowed(() => granted, () => false);
  });
}

test("pair(module) grants everything for all eight kinds", async () => {
  await assertAllowed(() => Object.fromEntries(KINDS.map((kind) => [kind, true])), () => true);
});

test("pair(module) grants read and write for file: URLs", async () => {
  await assertAllowed(
    (all) => {
      const url = new URL(`file://${all[0]?.[1]}`);
      return { read: [url], write: [url] };
    },
    (kind, index) => (kind === "read" || kind === "write") && index === 0,
  );
});

for (const kind of KINDS) {
  test(`pair(module) refuses ${kind}: "inherit", which a child process cannot be given`, async () => {
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: { [kind]: "inherit" }, args: ["[]"] }),
      TypeError,
      `permissions.${kind}`,
    );
  });

  test(`pair(module) refuses ${kind} with a comma in an entry`, async () => {
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: { [kind]: ["/a,/b"] } }),
      TypeError,
      "it has a comma",
    );
  });

  test(`pair(module) refuses ${kind} as a string, and names it`, async () => {
    const granted = { [kind]: "/tmp" } as unknown as Deno.PermissionOptionsObject;
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: granted, args: ["[]"] }),
      TypeError,
      kind,
    );
  });
}

const WRONG: Record<string, [options: unknown, message: string]> = {
  'permissions: "inherit"': [{ permissions: "inherit" }, "permissions"],
  "permissions: null": [{ permissions: null }, "permissions"],
  "a kind that does not exist": [{ permissions: { hrtime: true } }, '"hrtime"'],
  "a comma in modules": [
    { modules: ["/a,b"] },
    `the directory "/a,b" that it is to read has a comma`,
  ],
  "modules that is a string": [{ modules: "/a" }, "modules"],
  "modules with an empty path": [{ modules: [""] }, "modules[0]"],
  "modules with an http: URL": [{ modules: [new URL("http://x/")] }, "modules[0]"],
  "args with NUL": [{ args: ["a\0b"] }, "args[0]"],
};

for (const [name, [options, message]] of Object.entries(WRONG)) {
  test(`pair(module) refuses ${name} before anything starts`, async () => {
    const start = () => pair(moduleOf("grants.ts"), options as PairOptions);
    await assertRefused(start, TypeError, message);
  });
}

test("pair(module) refuses a module in a directory with a comma", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "a,b/w.ts": saying("1") });
  await assertRefused(() => pair(url), TypeError, `the directory "${dir.file("a,b")}" that it is`);
  const modules = [new URL("..", url)];
  assertEquals(await saidJson(url, { modules }), 1);
});

for (
  const url of ["http://127.0.0.1/w.ts", "https://jsr.io/x.ts", "data:text/javascript,", "npm:x"]
) {
  test(`pair(module) refuses ${url}: a module is a file`, async () => {
    await assertRefused(() => pair(new URL(url)), TypeError, "file: URL");
  });
}
