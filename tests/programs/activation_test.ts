/** Servers that `uds activate` starts at their first client, and again after they have ended. */

import { assertEquals, assertMatch } from "@std/assert";
import { connect, lines, messages } from "@uds/uds";
import { DIES, run, TempDir, test } from "../_helpers.ts";
import { checked, endUds, startUds } from "./_programs.ts";

/** A server that takes the socket of a service manager. */
interface Activated {
  name: string;
  version: string[];
  /** Its command line, in which "DIR" is a directory for its files. */
  command: string[];
  /** Options of `uds activate`. */
  options?: string[];
  /** The content of the file "conf" in that directory. */
  configuration: string;
  needs: string[];
  /** Uses it, and asserts that it answers. */
  use(path: string): Promise<void>;
}

/** Runs a client to its end, and returns what it prints. */
async function printed(program: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(program, args);
  assertEquals(code, 0, stderr);
  return stdout;
}

const BUS = "org.freedesktop.DBus";

const SERVERS: Activated[] = [
  {
    name: "D-Bus, `dbus-send`",
    version: ["dbus-daemon", "--version"],
    command: ["dbus-daemon", "--nofork", "--nopidfile", "--config-file=DIR/conf"],
    configuration: `<busconfig>
      <listen>systemd:</listen>
      <auth>EXTERNAL</auth>
      <policy context="default">
        <allow send_destination="*"/>
        <allow receive_sender="*"/>
      </policy>
    </busconfig>`,
    needs: ["dbus-daemon", "dbus-send"],
    async use(path) {
      const send = [`--bus=unix:path=${path}`, "--print-reply=literal", `--dest=${BUS}`, "/"];
      const user = await printed(
        "dbus-send",
        ...send,
        `${BUS}.GetConnectionUnixUser`,
        `string:${BUS}`,
      );
      assertEquals(user.trim(), `uint32 ${Deno.uid()}`);
    },
  },
  {
    name: "gpg-agent",
    version: ["gpg-agent", "--version"],
    command: ["gpg-agent", "--homedir", "DIR", "--supervised"],
    options: ["--name", "std"],
    configuration: "",
    needs: ["gpg-agent"],
    async use(path) {
      await using session = messages(await connect(path), lines());
      assertMatch(await session.receive() ?? "", /^OK Pleased to meet you/);
      await session.send("GETINFO socket_name");
      assertEquals(await session.receive(), `D ${path}`);
    },
  },
  {
    name: "HAProxy",
    version: ["haproxy", "-v"],
    command: ["haproxy", "-db", "-f", "DIR/conf"],
    configuration: `defaults
        mode http
        timeout client 10s
      frontend app
        bind fd@3
        http-request return status 200 content-type text/plain string activated\n`,
    needs: ["haproxy", "curl"],
    async use(path) {
      assertEquals(
        await printed("curl", "-sS", "--unix-socket", path, "http://localhost/"),
        "activated",
      );
    },
  },
];

for (const { name, version, command, options = [], configuration, needs, use } of SERVERS) {
  test(
    `uds activate starts ${name} at its first client, and again after it was killed`,
    async () => {
      await using dir = new TempDir();
      await using files = new TempDir(0o700);
      await Deno.writeTextFile(files.file("conf"), configuration);
      const path = dir.file("a.sock");
      const args = command.map((arg) => arg.replace("DIR", files.path));
      await using activate = await startUds("activate", path, ...options, "--", ...DIES, ...args);
      await Promise.all(Array.from({ length: 10 }, () => use(path)));
      const [, pid] = /started process (\d+)/.exec(await activate.stderr.text()) ?? [];
      Deno.kill(Number(pid), "SIGKILL");
      await activate.stderr.until("ended with SIGKILL");
      await use(path);
      await endUds(activate);
      const { stderr } = await activate.ended;
      assertEquals(stderr.match(/started process/g)?.length, 2, stderr);
      assertEquals(dir.list(), []);
      const what = "started by the first of 10 clients, killed, started by the next client";
      await checked(name, version, "`uds activate`", what);
    },
    { needs, deadline: 30_000 },
  );
}
