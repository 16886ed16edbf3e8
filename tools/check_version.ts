/**
 * Checks before a release that a tag, `deno.json` and the newest section of `CHANGELOG.md` have the
 * same version: `deno run --allow-read tools/check_version.ts v0.2.0`.
 */

const [tag = ""] = Deno.args;
const { version } = JSON.parse(await Deno.readTextFile("deno.json"));
const changelog = await Deno.readTextFile("CHANGELOG.md");
const newest = /^## \[?(\d+\.\d+\.\d+)\]? - \d{4}-\d{2}-\d{2}$/m.exec(changelog)?.[1];

const problems = [];
if (tag !== `v${version}`) problems.push(`the tag is ${tag}, and deno.json has ${version}`);
if (newest !== version) {
  problems.push(`the newest section of CHANGELOG.md is ${newest ?? "Unreleased"}, not ${version}`);
}
for (const problem of problems) console.error(`Cannot release: ${problem}`);
if (problems.length > 0) Deno.exit(1);
