import { assertEquals } from "@std/assert";
import { publishedConfig } from "../../tools/publish.ts";
import { test } from "../_helpers.ts";

test("publishedConfig() puts packages of JSR in the place of the stand-ins", () => {
  const config = {
    version: "0.1.0",
    imports: {
      "@std/path/posix": "./links/path/posix.ts",
      "@uds/uds": "./mod.ts",
      "deno-std": "npm:deno-std@1.4.0",
    },
    publish: { include: ["*.ts"] },
  };
  assertEquals(publishedConfig(config, { "@std/path": "jsr:@std/path@^1.1.0" }), {
    version: "0.1.0",
    imports: { "@std/path": "jsr:@std/path@^1.1.0", "@uds/uds": "./mod.ts" },
    publish: { include: ["*.ts"] },
  });
});

test("every stand-in has a package of JSR", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
    imports: Record<string, string>;
  };
  const packages = Object.keys(JSON.parse(await Deno.readTextFile("links/jsr.json")));
  const standIns = Object.keys(imports).filter((name) => imports[name]!.startsWith("./links/"));
  assertEquals(
    standIns.filter((name) => !packages.some((of) => name === of || name.startsWith(`${of}/`))),
    [],
  );
});
