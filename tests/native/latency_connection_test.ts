import { test } from "../_helpers.ts";
import { testLooking } from "./_connection_tests.ts";

const FILES = ["end", "failures", "half_close", "over"];

test("connections that look for bytes end and fail as all others do", async () => {
  await testLooking(FILES.map((name) => `tests/connection/${name}_test.ts`));
}, { deadline: 60_000 });
