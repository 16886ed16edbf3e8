import { assertEquals, assertThrows } from "@std/assert";
import { requireRuntime } from "../../_internal/base/runtime.ts";
import { test } from "../_helpers.ts";

for (const version of ["2.9.5", "2.9.6", "2.10.0", "3.0.0", "2.9.5+4f1c2a9", "2.10.0-rc.1"]) {
  test(`the package works on Deno ${version}`, () => {
    requireRuntime("linux", version);
  });
}

for (const version of ["2.9.4", "2.8.12", "1.46.3", "2.9.4-rc.1"]) {
  test(`the package refuses Deno ${version}, and names the version that it needs`, () => {
    const error = assertThrows(
      () => requireRuntime("linux", version),
      Deno.errors.NotSupported,
      "needs Deno 2.9.5 or later",
    );
    assertEquals(error.message.includes(version), true);
  });
}

test("the package refuses Windows, where Deno has no Unix sockets", () => {
  assertThrows(() => requireRuntime("windows", "2.9.6"), Deno.errors.NotSupported, "Windows");
});
