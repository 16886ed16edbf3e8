import { assertEquals } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";

for (const kind of ["reject", "throw"]) {
  test(`uds reports an uncaught error (${kind}) in one line`, async () => {
    await using dir = new TempDir();
    for (
      const [options, line] of [
        [[], "uds: Cannot do it: \\x1b[31mno"],
        [
          ["--json"],
          '{"error":{"name":"NotFound","message":"Cannot do it: \\u001b[31mno"},"exitCode":3}',
        ],
      ] as const
    ) {
      const args = [kind, "connect", "--wait", ...options, dir.file("s")];
      await using program = fixture("cli_uncaught.ts", ["-RWN"], args);
      const { code } = await program.status;
      assertEquals([code, await program.stderr()], [3, `${line}\n`]);
    }
  });
}
