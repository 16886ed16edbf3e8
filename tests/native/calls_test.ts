import { test } from "../_helpers.ts";
import { assertNothingLeft } from "./_calls.ts";

test("every native call leaves no descriptor and no memory, 100 times", async () => {
  await assertNothingLeft(100);
}, { deadline: 20_000 });
