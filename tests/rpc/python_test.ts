import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/posix";
import { serve } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { ROOT, run, TempDir, test } from "../_helpers.ts";
import { METHODS } from "./_rpc.ts";

test("the Python client of docs/calls.md calls a method, and raises its error", async () => {
  const page = await Deno.readTextFile(join(ROOT, "docs/calls.md"));
  const [, program = ""] = page.match(/^```python\n(.*?)^```$/ms) ?? [];
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await serve(
    path,
    (conn, { draining }) => rpc(conn, { methods: METHODS, draining }).closed,
  );
  const call = (...args: string[]) => run("python3", ["-c", program, path, ...args]);
  assertEquals(await call("sum", "[1, 2]"), { code: 0, stdout: "3\n", stderr: "" });
  const echoed = await call("echo", '{"text": "grün"}');
  assertEquals([echoed.code, echoed.stdout], [0, "{'text': 'grün'}\n"]);
  const refused = await call("refuse", '{"code": 1}');
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "RuntimeError: refused");
}, { needs: ["python3"] });
