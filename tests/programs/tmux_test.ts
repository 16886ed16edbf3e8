import { assertEquals, assertStringIncludes } from "@std/assert";
import { onTerminal, Process } from "../_cli.ts";
import { decode, test } from "../_helpers.ts";
import { asUser, checked, output, Relay, UserDir } from "./_programs.ts";

for (const way of ["relay", "tap"]) {
  test(`tmux works and attaches a terminal through uds ${way} --descriptors`, async () => {
    await using dir = new UserDir();
    const [path, relayed] = [dir.file("tmux.sock"), dir.file("relayed.sock")];
    const at = (path: string) => ["tmux", "-f", "/dev/null", "-S", path];
    // Without SHELL, tmux starts commands by the login shell of the user, which may refuse all.
    const env = { TERM: "xterm", HOME: dir.path, SHELL: "/bin/sh" };
    const tmux = (...args: string[]) => output([...at(relayed), ...args], { env });
    // The server starts in the background.
    await output([...at(path), "new-session", "-d", "-x", "80", "-y", "20", "exec cat"], { env });
    try {
      await using relay = await Relay.run(way, "--descriptors", relayed, path);
      for (let i = 1; i < 20; i++) await tmux("new-window", "-d", "exec cat");
      assertEquals((await tmux("list-windows")).trimEnd().split("\n").length, 20);
      await tmux("set-buffer", "x".repeat(10_000));
      assertEquals(await tmux("show-buffer"), "x".repeat(10_000));
      // The client sends its terminal to the server, as descriptors.
      const attach = onTerminal([...at(relayed), "attach", "-t", "0:0"]);
      await using client = new Process(asUser(...attach), { input: "open", env });
      await client.stdout.until("cat");
      let pane = "";
      // The terminal shows a line as it is typed, and then cat prints it.
      const printed = async (text: string) => {
        while (pane.split(text).length <= 2) {
          pane = await tmux("capture-pane", "-p", "-t", "0:0");
        }
      };
      await tmux("send-keys", "-t", "0:0", "typed by send-keys", "Enter");
      await printed("typed by send-keys");
      await client.type("typed in the terminal\n");
      await printed("typed in the terminal");
      const lines = ["typed by send-keys", "typed in the terminal"].flatMap((line) => [line, line]);
      assertEquals(pane.trimEnd().split("\n"), lines);
      // It may have drawn a line in pieces. Now it draws whole ones.
      await tmux(
        "refresh-client",
        "-t",
        (await tmux("list-clients", "-F", "#{client_name}")).trim(),
      );
      for (const line of lines) await client.stdout.until(line);
      await tmux("detach-client", "-a");
      await tmux("kill-server");
      assertStringIncludes(decode((await client.ended).stdout), "[server exited]");
      await relay.end();
    } finally {
      await output(["sh", "-c", `${at(path).join(" ")} kill-server 2>/dev/null; true`], { env });
    }
    const what = "20 windows, a buffer of 10 KB, a terminal attached, typed into and read";
    await checked("tmux", ["tmux", "-V"], `\`uds ${way} --descriptors\``, what);
  }, { needs: ["tmux", "script"], deadline: 30_000 });
}
