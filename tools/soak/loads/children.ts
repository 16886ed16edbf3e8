/** Child processes with a socket, and pairs of sockets. */

import { pair, socketpair } from "@uds/uds";
import { check, isSame, type Load, readAll, type Setting } from "../load.ts";

export function open({ random }: Setting): Promise<Load> {
  return Promise.resolve({
    courses: {
      "pair": {
        weight: 1,
        async run() {
          const args = ["-c", "cat <&3 >&3; exit 3"];
          await using child = await pair("sh", { args, clearEnv: true });
          const data = random.bytes(random.below(100_000));
          child.conn.write(data);
          child.conn.closeWrite();
          check(isSame(await readAll(child.conn), data), "a child sent other bytes back");
          check((await child.status).code === 3, "a child exited with another code");
        },
      },
      "socketpair": {
        weight: 5,
        async run() {
          const [a, b] = await socketpair();
          const data = random.bytes(random.below(10_000));
          a.write(data);
          a.closeWrite();
          check(isSame(await readAll(b), data), "the other end received other bytes");
          b.close();
          a.close();
        },
      },
    },
    end: () => Promise.resolve({}),
  });
}
