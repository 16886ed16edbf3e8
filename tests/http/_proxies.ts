/** nginx and HAProxy with the configurations of docs/http.md. */

import { connect } from "@uds/uds";
import { assert } from "@std/assert";
import { join } from "@std/path/posix";
import { Program, ROOT, type TempDir } from "../_helpers.ts";
import type { Proxy } from "./_restart.ts";

/** Returns a block of docs/http.md, with the paths of a test instead of those of the page. */
function configuration(language: string, path: string, listens: string): string {
  const page = Deno.readTextFileSync(join(ROOT, "docs/http.md"));
  const [, block = ""] = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "m").exec(page) ?? [];
  assert(block.includes("/run/app/app.sock") && block.includes("127.0.0.1:8080"), language);
  return block.replace("/run/app/app.sock", path).replace("127.0.0.1:8080", listens);
}

/** Starts a proxy, and waits until it listens. */
async function started(command: string, args: string[], path: string): Promise<Proxy> {
  const program = new Program(command, args);
  try {
    (await connect({ path, wait: true, signal: AbortSignal.timeout(10_000) })).close();
  } catch (error) {
    program.kill("SIGKILL");
    throw new Error(`${command} does not listen: ${await program.stderr()}`, { cause: error });
  }
  return { path, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

/** The proxies. Each is one process, so that nothing outlives it. */
export const PROXIES: Record<string, (dir: TempDir, path: string) => Promise<Proxy>> = {
  nginx: async (dir, path) => {
    const front = dir.file("front.sock");
    const file = dir.file("nginx.conf");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
      `${name}_temp_path ${dir.file(name)};`
    );
    await Deno.writeTextFile(
      file,
      `daemon off; master_process off; pid ${dir.file("nginx.pid")}; error_log stderr;
      events {}
      http {
        access_log off; ${temporary.join(" ")}
        ${configuration("nginx", path, `unix:${front}`)}
      }`,
    );
    return await started("nginx", ["-e", "stderr", "-p", dir.path, "-c", file], front);
  },
  haproxy: async (dir, path) => {
    const front = dir.file("front.sock");
    const file = dir.file("haproxy.cfg");
    await Deno.writeTextFile(file, configuration("haproxy", path, `unix@${front}`));
    return await started("haproxy", ["-db", "-f", file], front);
  },
};
