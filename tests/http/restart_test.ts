import { test } from "../_helpers.ts";
import { EXAMPLES, restartUnderLoad } from "./_restart.ts";

for (const example of EXAMPLES) {
  test(
    `examples/${example} restarts under load, and no request is refused, reset or unanswered`,
    async () => void await restartUnderLoad(example, 1, 2000, 20),
    { needs: ["gcc"], deadline: 30_000 },
  );
}
