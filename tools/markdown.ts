/** Returns a Markdown text as `deno fmt` formats it. */
export async function formatMarkdown(text: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext=md", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = child.output();
  await new Blob([text]).stream().pipeTo(child.stdin);
  const { success, stdout } = await output;
  if (!success) throw new Error("deno fmt cannot format the text");
  return new TextDecoder().decode(stdout);
}
