import { assertEquals } from "@std/assert";
import { run, TempDir, test } from "../_helpers.ts";
import { PROXIES } from "./_proxies.ts";
import { restartUnderLoad, startExample } from "./_restart.ts";

for (const [name, inFront] of Object.entries(PROXIES)) {
  test(`${name} passes requests on to a path, as docs/http.md configures it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("http.sock");
    await using _server = await startExample("http_deno.ts", path, "hello");
    await using proxy = await inFront(dir, path);
    const curl = await run("curl", ["-sS", "--unix-socket", proxy.path, "http://localhost/"]);
    assertEquals(curl, { code: 0, stdout: "hello\n", stderr: "" });
  }, { needs: [name, "curl"] });

  test(
    `a server behind ${name} restarts under load, and no request fails`,
    async () => void await restartUnderLoad("http_deno.ts", 1, 2000, 20, inFront),
    { needs: [name, "gcc"], deadline: 30_000 },
  );
}
