/**
 * Workers that are kept, and workers that are reloaded and killed in turn. Only a client of a
 * worker that is killed may be cut off.
 */

import { connect, pair } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import {
  check,
  denoArgs,
  isSame,
  type Load,
  readAll,
  type Setting,
  together,
  until,
} from "../load.ts";
import type { Owner } from "../programs/owner.ts";

export async function open({ directory, random, stack }: Setting): Promise<Load> {
  const paths = { kept: `${directory}/kept.sock`, replaced: `${directory}/replaced.sock` };
  const args = [...denoArgs("tools/soak/programs/owner.ts"), paths.kept, paths.replaced];
  const child = stack.use(await pair(Deno.execPath(), { args }));
  const owner = rpc<Owner>(child.conn);
  const used = { served: 0, cut: 0, reloads: 0, kills: 0 };
  /** Odd while a worker is killed and replaced. */
  let kills = 0;
  await owner.call("pids", { of: "kept" });

  /** Sends bytes to a worker, which sends them back. */
  async function ask(path: string): Promise<void> {
    const before = kills;
    try {
      await using conn = await connect(path);
      const data = random.bytes(random.below(2 ** random.below(18)));
      conn.write(data);
      conn.closeWrite();
      check(isSame(await readAll(conn), data), "a worker sent other bytes back");
      used.served++;
    } catch (error) {
      const isKill = kills !== before || kills % 2 === 1;
      if (path === paths.kept || !isKill) throw error;
      used.cut++;
    }
  }

  return {
    courses: {
      "workers": { weight: 20, run: () => together(() => ask(paths.kept)) },
      "workers that are replaced": { weight: 20, run: () => together(() => ask(paths.replaced)) },
    },
    async disturb() {
      if ((used.reloads + used.kills) % 2 === 0) {
        await owner.call("reload");
        used.reloads++;
        return;
      }
      const [pid, other] = await owner.call("pids", { of: "replaced" }) as [number, number];
      kills++;
      Deno.kill(pid, "SIGKILL");
      await until(async () => {
        const now = await owner.call("pids", { of: "replaced" });
        check(now.includes(other), "a worker has ended that was not killed");
        return now.length === 2 && !now.includes(pid);
      }, "the worker that was killed is replaced");
      kills++;
      used.kills++;
    },
    async processes() {
      const kept = await owner.call("pids", { of: "kept" });
      const replaced = await owner.call("pids", { of: "replaced" });
      return [
        { role: "owner of workers", pid: child.pid, isReplaced: false },
        ...kept.map((pid, i) => ({ role: `worker ${i + 1}`, pid, isReplaced: false })),
        ...replaced.map((pid) => ({ role: "worker that is replaced", pid, isReplaced: true })),
      ];
    },
    async end() {
      const { lost, aborted } = await owner.call("shutdown");
      check(lost === used.kills, `${lost} workers have ended, and ${used.kills} were killed`);
      check(aborted === 0, `${aborted} connections were cut off`);
      owner.close();
      check((await child.status).success, "the owner of the workers has failed");
      return used;
    },
  };
}
