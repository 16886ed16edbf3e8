import { assertEquals } from "@std/assert";
import { installedConfig } from "../../tools/install.ts";
import { test } from "../_helpers.ts";

test("installedConfig() makes links and local imports absolute, and keeps packages", () => {
  const config = {
    links: ["./links/path"],
    imports: { "@std/path": "jsr:@std/path@^1.1.0", "@uds/uds": "./mod.ts" },
    tasks: { ok: "deno run -A tools/ok.ts" },
  };
  assertEquals(installedConfig(config, new URL("file:///srv/a%20b/")), {
    links: ["/srv/a b/links/path"],
    imports: { "@std/path": "jsr:@std/path@^1.1.0", "@uds/uds": "file:///srv/a%20b/mod.ts" },
  });
});

test("installedConfig() needs neither links nor imports", () => {
  assertEquals(installedConfig({}, new URL("file:///srv/")), { links: [], imports: {} });
});
