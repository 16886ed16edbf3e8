import { assertEquals, assertRejects } from "@std/assert";
import { type Child, pair, type PairOptions } from "@uds/uds";
import { readText, test } from "../_helpers.ts";

/** Prints its process, its process group and its session. */
const SCRIPT = "read -r pid comm state parent group session rest < /proc/$$/stat; " +
  "echo $$ $group $session >&3; read -r line <&3; exit 3";

async function start(options: PairOptions): Promise<[Child, number[]]> {
  const child = await pair("sh", { args: ["-c", SCRIPT], ...options });
  return [child, (await readText(child.conn))!.split(" ").map(Number)];
}

const NEEDS = { needs: Deno.build.os === "linux" ? [] : ["/proc"] };

test("pair() with detached starts the child in a session of its own", async () => {
  const [started, [pid, group, session]] = await start({ detached: true });
  await using child = started;
  assertEquals([pid, group, session], [child.pid, child.pid, child.pid]);
  await child.conn.closeWrite();
  assertEquals((await child.status).code, 3);
}, NEEDS);

test("pair() without detached starts the child in the session of this process", async () => {
  const [started, [pid, group]] = await start({});
  await using child = started;
  assertEquals([pid === child.pid, group === pid], [true, false]);
}, NEEDS);

test("pair() with detached ends a child that ignores the end of file", async () => {
  let child;
  {
    await using started = await pair("sleep", { args: ["60"], detached: true, grace: 50 });
    child = started;
  }
  assertEquals((await child.status).signal, "SIGTERM");
});

test("pair() refuses detached that is not a boolean", async () => {
  await assertRejects(
    () => pair("true", { detached: "yes" as unknown as boolean }),
    TypeError,
    'Invalid detached: expected true or false, got "yes"',
  );
});
