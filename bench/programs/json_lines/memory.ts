/** `JSON.stringify` and `JSON.parse` alone, without a socket or a second process. */

import { counted, report, timed } from "../_program.ts";
import { recordOf } from "./_record.mjs";

const seconds = await timed((items) => {
  for (let i = 0; i < items; i++) {
    const text = JSON.stringify(recordOf(i));
    const record = JSON.parse(text);
    if (record.id !== 1_000_000 + i % 1_000_000) throw new Error("out of order");
    counted.items++;
    counted.bytes += text.length + 1;
  }
  return Promise.resolve();
});
report({ seconds });
