/** An untrusted module. It computes, or misbehaves if the question says so. */

import { inherited } from "@uds/uds/child";

await using conn = inherited();
const question = await new Response(conn.readable).text();
const reply = (text: string) => conn.writeText(text);

if (question === "throw") throw new Error("thrown on request");
if (question === "loop") { while (true); }
if (question === "flood") { while (true) await reply("answer ".repeat(10_000)); }
if (question === "secret") {
  try {
    await reply(Deno.readTextFileSync("/etc/passwd"));
  } catch (error) {
    await reply(`denied: ${(error as Error).name}`);
  }
} else {
  const [, a, operator, b] = question.match(/^(\d+) ([+*]) (\d+)$/) ?? [];
  await reply(String(operator === "*" ? Number(a) * Number(b) : Number(a) + Number(b)));
}
