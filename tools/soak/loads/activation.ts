/**
 * Two commands that `uds activate` starts at their first clients. One of them is ended again and
 * again, and its clients wait for the next one.
 */

import { connect, pair } from "@uds/uds";
import {
  check,
  denoArgs,
  isSame,
  type Load,
  PATIENCE_MS,
  readAll,
  type Setting,
  together,
  until,
} from "../load.ts";
import { childrenOf } from "../size.ts";

export async function open({ directory, random, stack }: Setting): Promise<Load> {
  const used = { activated: 0, ended: 0 };
  const uds = denoArgs("cli.ts");

  /** Starts `uds activate`, and waits until its command serves. */
  async function start(name: string) {
    const path = `${directory}/${name}.sock`;
    const command = [Deno.execPath(), ...uds, "echo", "--quiet", "--systemd", path];
    const args = [...uds, "activate", "--quiet", path, "--", ...command];
    const child = await pair(Deno.execPath(), { args });
    const stop = () => {
      child.kill("SIGTERM");
      return child.status;
    };
    stack.defer(async () => void await stop());
    return { path, child, stop };
  }
  const kept = await start("activated");
  const replaced = await start("activated-anew");

  /** Sends bytes to a command, which sends them back. */
  async function ask({ path }: typeof kept): Promise<void> {
    await using conn = await connect({ path, wait: true, timeout: PATIENCE_MS });
    const data = random.bytes(random.below(50_000));
    conn.write(data);
    conn.closeWrite();
    check(isSame(await readAll(conn), data), "a command sent other bytes back");
    used.activated++;
  }
  const course = (activator: typeof kept) => ({
    weight: 10,
    run: () => together(() => ask(activator)),
  });

  return {
    courses: {
      "activated command": course(kept),
      "command that is activated anew": course(replaced),
    },
    async disturb() {
      const [pid] = childrenOf(replaced.child.pid);
      if (pid === undefined) return;
      Deno.kill(pid, "SIGTERM");
      const hasEnded = () => !childrenOf(replaced.child.pid).includes(pid);
      await until(hasEnded, "the activated command has ended");
      used.ended++;
    },
    async rest() {
      // Both commands run at each rest.
      await ask(kept);
      await ask(replaced);
    },
    processes() {
      const names = [kept, replaced].flatMap(({ child: { pid } }, i) => [
        { role: `uds activate ${i + 1}`, pid, isReplaced: false },
        ...childrenOf(pid).map((pid) => ({
          role: i === 0 ? "activated command" : "command that is activated anew",
          pid,
          isReplaced: i === 1,
        })),
      ]);
      return Promise.resolve(names);
    },
    async end() {
      for (const { stop } of [kept, replaced]) {
        const { code } = await stop();
        check(code === 0, `uds activate exited with ${code}`);
      }
      return used;
    },
  };
}
