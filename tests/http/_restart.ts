/** Restarts of an HTTP server under load, for the tests here and in `tests/faults`. */

import { permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { fixture, fixturePath, Program, run, TempDir } from "../_helpers.ts";

/** The examples of HTTP servers that replace each other. */
export const EXAMPLES: readonly string[] = ["http_deno.ts", "http_hono.ts", "http_node.ts"];

/** Starts an example with exactly the permissions that its claim needs. */
export async function startExample(example: string, path: string, text: string): Promise<Program> {
  const flags = permissionFlags(permissions("claim", path, { publish: "rename" }));
  const server = fixture(`./examples/${example}`, flags, [path, text]);
  assertEquals(await server.line(), `listening on ${path}`);
  return server;
}

/** A proxy that listens on its own path. */
export interface Proxy extends AsyncDisposable {
  path: string;
}

/** What the clients of a load have counted. */
export interface Counts {
  answered: number;
  connected: number;
  kept: number;
}

/**
 * Restarts an example under load. Asserts that no request is refused, reset or unanswered, and that
 * every server ends.
 *
 * @param example The example.
 * @param restarts How often.
 * @param minimum The least number of answers in all.
 * @param clients How many clients. Half of them keep their connections.
 * @param inFront Starts a proxy in front of the path, and returns its own path.
 */
export async function restartUnderLoad(
  example: string,
  restarts: number,
  minimum: number,
  clients: number,
  inFront?: (dir: TempDir, path: string) => Promise<Proxy>,
): Promise<Counts> {
  await using dir = new TempDir();
  const program = dir.file("clients");
  const compiled = await run("gcc", ["-O2", "-o", program, fixturePath("http_clients.c")]);
  assertEquals(compiled, { code: 0, stdout: "", stderr: "" });
  const path = dir.file("http.sock");
  await using servers = new AsyncDisposableStack();
  const start = async (text: string) => servers.use(await startExample(example, path, text));
  const started = [await start("0")];
  const atOnce = Math.ceil(minimum / (restarts + 1));
  await using proxy = await inFront?.(dir, path);
  await using load = new Program(program, [proxy?.path ?? path, `${clients}`, `${atOnce}`], {
    stdin: "piped",
  });
  for (let i = 1; i <= restarts; i++) {
    // Each server answers its part.
    assertEquals(await load.line(), "answered");
    started.push(await start(`${i}`));
  }
  const last = started.pop()!;
  for (const old of started) {
    assertEquals(await old.output(), []);
    assertEquals([(await old.status).code, await old.stderr()], [0, ""]);
  }
  assertEquals(await load.line(), "answered");
  await load.stdin.close();
  const { answered, connected, kept, ...problems } = JSON.parse(
    (await load.output()).findLast((line) => line !== "answered") ?? "",
  );
  assertEquals(problems, { refused: 0, lost: 0, odd: 0, firstProblem: "" });
  assert(answered >= minimum && kept > 0, `${answered} answered, ${kept} over kept connections`);
  last.kill("SIGTERM");
  assertEquals([(await last.status).code, await last.stderr()], [0, ""]);
  assertEquals(dir.list().filter((name) => name.startsWith("http.sock")), []);
  return { answered, connected, kept };
}
