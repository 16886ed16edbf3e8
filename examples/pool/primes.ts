/** The module of the pool's children: it counts primes. */

import { inherited } from "@uds/uds/child";
import { rpc, type RpcContext } from "@uds/uds/rpc";

const methods = {
  async count({ from, to }: { from: number; to: number }, { notify }: RpcContext): Promise<number> {
    await notify("progress", { pid: Deno.pid, from });
    let count = 0;
    for (let n = Math.max(from, 2); n < to; n++) {
      let divisor = 2;
      while (divisor * divisor <= n && n % divisor !== 0) divisor++;
      if (divisor * divisor > n) count++;
    }
    return count;
  },
  crash: (): never => Deno.exit(1),
};

export type Primes = typeof methods;

rpc(inherited(), { methods });
