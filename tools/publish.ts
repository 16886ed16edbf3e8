/**
 * Simulates publishing. With `links` the stand-ins for `jsr:@std/…` are in the package's module graph, and
 * have to be let in; what is published for real is published without `links`.
 */

const config = JSON.parse(await Deno.readTextFile("deno.json"));
config.publish.include.push("links");
const file = `deno.publish.${Deno.pid}.json`;
await Deno.writeTextFile(file, JSON.stringify(config));
try {
  const args = ["publish", "--dry-run", "--allow-dirty", "--config", file];
  const { code } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn().status;
  Deno.exitCode = code;
} finally {
  await Deno.remove(file);
}
