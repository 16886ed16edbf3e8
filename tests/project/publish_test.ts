import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path/posix";
import { publishedConfig, publishedFiles } from "../../tools/publish.ts";
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

/** Returns the relative links of a page, or of the doc comments of a module, without anchors. */
function linksOf(file: string): string[] {
  const text = Deno.readTextFileSync(file);
  const prose = file.endsWith(".ts") ? text.match(/^ *\/?\*.*$/gm)?.join("\n") ?? "" : text;
  return [...prose.matchAll(/\]\(([^)\s#]+)[^)\s]*\)/g)].map(([, target = ""]) => target)
    .filter((target) => !/^\w+:/.test(target));
}

test("every relative link of a published page leads to a published file", async () => {
  // The stand-ins are not published.
  const files = (await publishedFiles()).filter((file) => !file.startsWith("links/"));
  const links = files.filter((file) => /\.(md|txt|ts)$/.test(file)).flatMap((file) =>
    linksOf(file).map((link) => ({ file, link, target: join(dirname(file), link) }))
  );
  assert(links.length > 100, "there are few links");
  const isPublished = (target: string) =>
    files.some((file) => file === target || file.startsWith(`${target}/`));
  assertEquals(
    links.filter(({ target }) => !isPublished(target)).map(({ file, link }) => `${file}: ${link}`),
    [],
  );
});
