import { isSocketError } from "@uds/uds";
import { notify, watchdog } from "@uds/uds/systemd";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { denoArgs, fixturePath, IS_ROOT, Program, run, TempDir, test } from "../_helpers.ts";
import { type Line, underManager } from "./_manager.ts";

const ENV = "--allow-env=NOTIFY_SOCKET";
const LIBC = `/lib/${Deno.build.arch}-linux-gnu/libc.so.6`;
const NEEDS = { needs: ["python3"] };

const REPORTS = [
  { ready: true, status: "3 clients" },
  { mainPid: 4711 },
  { watchdog: true },
  { stopping: true, ready: false },
];

const ASSIGNMENTS = [
  ["READY=1", "STATUS=3 clients"],
  ["MAINPID=4711"],
  ["WATCHDOG=1"],
  ["STOPPING=1"],
];

for (
  const [way, flags] of Object.entries({
    "systemd-notify": ["--allow-run=systemd-notify"],
    "a datagram of Deno's": ["--unstable-net", "--allow-write", "--allow-net"],
    "libc": [`--allow-ffi=${LIBC}`],
  })
) {
  test(`notify() reports in order by ${way}, to a path and to an abstract name`, async () => {
    await using dir = new TempDir();
    const path = dir.file("notify");
    const args = ["--both", ...REPORTS.map((report) => JSON.stringify(report))];
    const lines = await underManager(path, "systemd_notify.ts", [ENV, ...flags], args);
    assertEquals(lines.pop(), { code: 0 });
    for (const to of ["path", "name"]) {
      const came = lines.filter((line) => line.to === to);
      assertEquals(came.map(({ lines }) => lines), ASSIGNMENTS, to);
    }
    // As root, systemd-notify sends in the name of its parent.
    if (IS_ROOT || way !== "systemd-notify") assert(lines.every(({ isMain }) => isMain));
  }, { needs: [...NEEDS.needs, "systemd-notify"] });
}

test("notify() by a datagram of Deno's needs write and net for the path alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("notify");
  const flags = ["--unstable-net", `--allow-write=${path}`, `--allow-net=unix:${path}`];
  const lines = await underManager(path, "systemd_notify.ts", [ENV, ...flags], ['{"ready":true}']);
  assertEquals(lines, [{ to: "path", lines: ["READY=1"], isMain: true }, { code: 0 }]);
}, NEEDS);

test("notify({ reloading }) reports the time by libc", async () => {
  await using dir = new TempDir();
  const now = () => Math.floor(Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]) * 1e6);
  const before = now();
  const flags = [ENV, `--allow-ffi=${LIBC}`];
  const args = ['{"reloading":true}'];
  const [line] = await underManager(dir.file("notify"), "systemd_notify.ts", flags, args);
  const [reloading, time] = line!.lines!;
  assertEquals(reloading, "RELOADING=1");
  const microseconds = Number(/^MONOTONIC_USEC=(\d+)$/.exec(time!)![1]);
  // The time since the boot has hundredths of a second only.
  assert(microseconds >= before - 10_000 && microseconds <= now() + 10_000, time);
}, NEEDS);

test("notify({ reloading }) leaves the time to systemd-notify, or names its failure", async () => {
  await using dir = new TempDir();
  const path = dir.file("notify");
  const flags = [ENV, "--allow-run=systemd-notify"];
  const args = ['{"reloading":true}'];
  const [line] = await underManager(path, "systemd_notify.ts", flags, args);
  // It has the option since version 253.
  const { stdout } = await run("systemd-notify", ["--help"]);
  if (stdout.includes("--reloading")) {
    assert(line!.lines!.some((line) => line.startsWith("MONOTONIC_USEC=")));
  } else {
    const start = `Cannot notify "${path}": systemd-notify failed: `;
    assert(`${line!["message"]}`.startsWith(start), JSON.stringify(line));
  }
}, { needs: [...NEEDS.needs, "systemd-notify"] });

test("notify() without a permission to send names each way", async () => {
  await using dir = new TempDir();
  const address = dir.file("notify");
  const args = ['{"ready":true}', '{"reloading":true}'];
  const lines = await underManager(address, "systemd_notify.ts", [ENV], args);
  const start = `Cannot notify "${address}": a Deno permission is missing. Run again with `;
  assertEquals(lines, [
    {
      name: "NotCapable",
      message: `${start}--allow-run=systemd-notify, or with --unstable-net ` +
        `--allow-write=${address} --allow-net=unix:${address}, or with --allow-ffi=${LIBC}`,
      operation: "notify",
      path: address,
    },
    {
      name: "NotCapable",
      message: `${start}--allow-run=systemd-notify (systemd 253 or later), or with ` +
        `--allow-ffi=${LIBC}`,
      operation: "notify",
      path: address,
    },
    { code: 0 },
  ]);
}, NEEDS);

test("notify() to a socket that is gone rejects with its path", async () => {
  await using dir = new TempDir();
  Deno.env.set("NOTIFY_SOCKET", dir.file("gone"));
  try {
    const error = await notify({ ready: true }).catch((error) => error);
    assert(isSocketError(error), `${error}`);
    assertEquals([error.operation, error.path], ["notify", dir.file("gone")]);
    const start = `Cannot notify "${dir.file("gone")}": systemd-notify failed: `;
    assert(error.message.startsWith(start), error.message);
    Deno.env.set("NOTIFY_SOCKET", "vsock:2:1");
    const invalid = await notify({ ready: true }).catch((error) => error);
    assertEquals(
      [invalid.name, invalid.message],
      [
        "InvalidData",
        "Cannot notify the manager: the variable NOTIFY_SOCKET must be an absolute path or @name, " +
        'and is "vsock:2:1"',
      ],
    );
  } finally {
    Deno.env.delete("NOTIFY_SOCKET");
  }
}, {
  permissions: { env: true, write: true, read: true, run: ["systemd-notify"] },
  needs: ["systemd-notify"],
});

test("notify() and watchdog() without a manager do nothing", async () => {
  assertEquals(await notify({ ready: true, status: "serving" }), false);
  using running = watchdog();
  assertEquals(running.interval, null);
});

test("notify() and watchdog() check their options", async () => {
  const refuse = (options: unknown, message: string) =>
    assertRejects(() => notify(options as never), TypeError, message);
  await refuse({}, "Invalid options of notify(): nothing is reported");
  await refuse({ ready: 1 }, "Invalid ready: expected true or false, got 1");
  await refuse({ status: "a\nREADY=1" }, "Invalid status: expected one line of text");
  await refuse({ steady: true }, 'Invalid option "steady" of notify()');
  await assertRejects(() => notify({ mainPid: 0 }), RangeError, "Invalid mainPid");
  assertThrows(() => watchdog({ isHealthy: true } as never), TypeError, "Invalid isHealthy");
});

test("notify() without the permission for its variable names the flag", async () => {
  await assertRejects(
    () => notify({ ready: true }),
    Deno.errors.NotCapable,
    "Cannot notify the manager: a Deno permission is missing. Run again with " +
      "--allow-env=NOTIFY_SOCKET",
  );
}, { permissions: { env: false } });

test("watchdog() reports at half of the interval, while the service is healthy", async () => {
  await using dir = new TempDir();
  const address = dir.file("notify");
  const flags = ["--allow-env=NOTIFY_SOCKET,WATCHDOG_USEC,WATCHDOG_PID", `--allow-ffi=${LIBC}`];
  const options = { env: { WATCHDOG_USEC: "100000" } };
  const lines = await underManager(address, "systemd_watchdog.ts", flags, [], options);
  const of = (name: string) => lines.filter((line) => name in line).map((line) => line[name]);
  assertEquals(of("interval"), [50]);
  assertEquals(of("lines"), Array.from({ length: 3 }, () => ["WATCHDOG=1"]));
  assertEquals(of("error"), ["not well"]);
  assertEquals(of("code"), [0]);
}, NEEDS);

for (
  const [way, flags] of Object.entries({
    "a datagram of Deno's": ["--unstable-net", "--allow-write", "--allow-net"],
    "libc": [`--allow-ffi=${LIBC}`],
  })
) {
  test(`notify() by ${way} names a socket that does not exist`, async () => {
    await using dir = new TempDir();
    const path = dir.file("gone");
    const args = denoArgs("systemd_notify.ts", [ENV, ...flags], ['{"ready":true}']);
    const { stdout } = await run("env", [`NOTIFY_SOCKET=${path}`, Deno.execPath(), ...args]);
    const { name, message } = JSON.parse(stdout);
    const state = `Cannot notify "${path}": it does not exist`;
    assertEquals([name, message], ["NotFound", state]);
  });
}

for (const NOTIFY_SOCKET of ["/", "@"].map((start) => start + "a".repeat(120))) {
  test(`notify() refuses ${NOTIFY_SOCKET[0]}aaa…, which is too long for a socket`, async () => {
    Deno.env.set("NOTIFY_SOCKET", NOTIFY_SOCKET);
    try {
      const error = await assertRejects(() => notify({ ready: true }), RangeError);
      assert(error.message.startsWith("Invalid socket path "), error.message);
      assertMatch(error.message, /it has 121 bytes(?: when absolute)?, and the system allows/);
    } finally {
      Deno.env.delete("NOTIFY_SOCKET");
    }
  });
}

test("watchdog() refuses 0, and reports at the longest interval of a timer at least", () => {
  Deno.env.set("NOTIFY_SOCKET", "@gone");
  try {
    Deno.env.set("WATCHDOG_USEC", "0");
    const message = 'WATCHDOG_USEC must be a whole number from 1 on, and is "0"';
    assertThrows(() => watchdog(), Deno.errors.InvalidData, message);
    Deno.env.set("WATCHDOG_USEC", `${100 * 24 * 60 * 60 * 1e6}`);
    using running = watchdog({ isHealthy: () => false });
    assertEquals(running.interval, 0x7fff_ffff);
  } finally {
    Deno.env.delete("NOTIFY_SOCKET");
    Deno.env.delete("WATCHDOG_USEC");
  }
});

test("watchdog() of another process does nothing", () => {
  Deno.env.set("WATCHDOG_USEC", "100000");
  Deno.env.set("WATCHDOG_PID", "1");
  try {
    using running = watchdog();
    assertEquals(running.interval, null);
  } finally {
    Deno.env.delete("WATCHDOG_USEC");
    Deno.env.delete("WATCHDOG_PID");
  }
});

test(
  "notify({ storeFds }) leaves descriptors with the manager, and removes them, by libc",
  async () => {
    await using dir = new TempDir();
    using file = Deno.openSync(dir.file("state"), { write: true, create: true });
    const { ino } = file.statSync();
    const path = dir.file("notify");
    const reports = [
      { storeFds: { fds: [3, 3], name: "state" } },
      { storeFds: { fds: [3] }, ready: true },
      { removeFds: "state" },
      { storeFds: { fds: [999] } },
    ].map((report) => JSON.stringify(report));
    const program = [
      Deno.execPath(),
      ...denoArgs("systemd_notify.ts", [ENV, `--allow-ffi=${LIBC}`], reports),
    ];
    const manager = [
      fixturePath("systemd_manager.py"),
      path,
      "sh",
      "-c",
      'exec "$0" "$@" 3>>"$STATE"',
    ];
    await using run = new Program("python3", [...manager, ...program], {
      env: { STATE: dir.file("state") },
    });
    const lines = (await run.output()).map((line) => JSON.parse(line) as Line);
    const sent = (lines: string[], inodes?: number[]): Line => ({
      to: "path",
      lines,
      isMain: true,
      ...(inodes && { inodes }),
    });
    assertEquals(lines.filter(({ to }) => to), [
      sent(["FDSTORE=1", "FDNAME=state"], [ino!, ino!]),
      sent(["READY=1", "FDSTORE=1", "FDNAME=stored"], [ino!]),
      sent(["FDSTOREREMOVE=1", "FDNAME=state"]),
    ]);
    assertEquals(
      lines.find(({ name }) => name)?.["message"],
      `Cannot notify "${path}": a descriptor to store is not open`,
    );
  },
  NEEDS,
);

test("notify({ storeFds }) names libc, which alone can send descriptors", async () => {
  await using dir = new TempDir();
  const flags = [ENV, "--allow-run=systemd-notify"];
  const args = ['{"storeFds":{"fds":[0]}}'];
  const [line] = await underManager(dir.file("notify"), "systemd_notify.ts", flags, args);
  assertEquals(line!["name"], "NotCapable");
  assertMatch(`${line!["message"]}`, /missing\. Run again with --allow-ffi=\S+libc\.so\.6$/);
}, NEEDS);

for (
  const [name, value] of Object.entries({
    "no descriptor": { fds: [] },
    "too many descriptors": { fds: Array.from({ length: 254 }, () => 0) },
    "a descriptor below 0": { fds: [-1] },
    "a name with a colon": { fds: [0], name: "a:b" },
    "a name of two lines": { fds: [0], name: "a\nREADY=1" },
  })
) {
  test(`notify({ storeFds }) refuses ${name}`, async () => {
    const error = await notify({ storeFds: value }).catch((error: unknown) => error);
    assertMatch(String(error), /^(?:Type|Range)Error: Invalid (?:fds|name)/);
  });
}

test("notify() refuses storeFds and removeFds together", async () => {
  const both = { storeFds: { fds: [0] }, removeFds: "old" };
  await assertRejects(() => notify(both), TypeError, "Invalid removeFds");
});
