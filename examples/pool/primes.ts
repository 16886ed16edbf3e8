/** A child of the pool. It counts primes, and crashes if a question says so. */

import { inherited, json, lines, messages } from "@uds/uds";

interface Question {
  from: number;
  to: number;
}

await using parent = messages(inherited(), json<Question | number>(lines()));
for await (const { from, to } of parent as AsyncIterable<Question>) {
  if (from > to) Deno.exit(1);
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor !== 0) divisor++;
    if (divisor * divisor > n) count++;
  }
  await parent.send(count);
}
