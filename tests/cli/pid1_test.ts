import { assertEquals } from "@std/assert";
import { connect } from "@uds/uds";
import { FLAGS, Process, udsCommand } from "../_cli.ts";
import { encode, readText, TempDir, test } from "../_helpers.ts";

const ALL = [...FLAGS, "--allow-run", "--allow-env"];
const NEEDS = { needs: ["unshare"], root: true };

/** The command line as process 1 of a namespace, as in a container. */
class FirstProcess extends Process {
  constructor(args: string[]) {
    super(["unshare", "--pid", "--fork", "--mount-proc", ...udsCommand(args, ALL)]);
  }

  /** Sends a signal to the command, the only child of unshare. */
  async signal(signal: Deno.Signal): Promise<void> {
    const children = `/proc/${this.pid}/task/${this.pid}/children`;
    const pid = Number(await Deno.readTextFile(children));
    // Pid 0 would signal this process's own group.
    if (pid > 0) Deno.kill(pid, signal);
  }
}

for (const args of [["echo"], ["serve", "--", "cat"]]) {
  const [command = "", ...rest] = args;
  test(
    `uds ${command} as process 1 ends gracefully at SIGTERM, and at once at the second`,
    async () => {
      await using dir = new TempDir();
      {
        await using server = new FirstProcess([command, dir.file("s"), ...rest]);
        await server.stderr.until("listening");
        await server.signal("SIGTERM");
        const { code, stderr } = await server.ended;
        assertEquals([code, stderr], [0, `listening on ${dir.file("s")}\nending\n`]);
        assertEquals(dir.list(), []);
      }
      await using server = new FirstProcess([command, dir.file("s"), ...rest]);
      await server.stderr.until("listening");
      await using conn = await connect(dir.file("s"));
      await conn.write(encode("x"));
      assertEquals(await readText(conn), "x");
      await server.signal("SIGTERM");
      await server.stderr.until("ending");
      await new Promise((resolve) => setTimeout(resolve, 550));
      await server.signal("SIGTERM");
      assertEquals((await server.ended).code, 143);
    },
    NEEDS,
  );
}

for (const args of [["connect", "--wait", "--timeout", "20"], ["listen"]]) {
  test(`uds ${args[0]} as process 1 ends at SIGTERM`, async () => {
    await using dir = new TempDir();
    await using process = new FirstProcess([...args, dir.file("s")]);
    let ended: number | undefined;
    process.ended.then(({ code }) => ended = code);
    // Signals have no effect before it listens to them, so send them until one has.
    while (ended === undefined) {
      await process.signal("SIGTERM").catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    assertEquals(ended, args[0] === "listen" ? 0 : 143);
    assertEquals(dir.list(), []);
  }, NEEDS);
}
