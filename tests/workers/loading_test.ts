import { NotASocket } from "@uds/uds";
import { serveWorkers, type ServeWorkersOptions } from "@uds/uds/workers";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { decode, fixture, TempDir, test } from "../_helpers.ts";
import { accepting, ask, moduleOf } from "./_workers.ts";

/**
 * Keeps what workers print on the standard error of this process from being shown. Disposal waits
 * for a text among it.
 */
function printing(text: string): AsyncDisposable {
  const { promise, resolve } = Promise.withResolvers<void>();
  let printed = "";
  Deno.stderr.write = (data) => {
    printed += decode(data);
    if (printed.includes(text)) resolve();
    return Promise.resolve(data.length);
  };
  return {
    async [Symbol.asyncDispose]() {
      await promise;
      delete (Deno.stderr as Partial<typeof Deno.stderr>).write;
    },
  };
}

test("serveWorkers() names a module that throws a value without a text", async () => {
  await using dir = new TempDir();
  const file = dir.file("textless.ts");
  await Deno.writeTextFile(file, "throw Object.create(null);\n");
  await using _printed = printing("Uncaught");
  const error = await assertRejects(
    () => serveWorkers({ path: dir.file("app.sock"), count: 1 }, new URL(`file://${file}`)),
    Deno.errors.InvalidData,
  );
  assertStringIncludes(error.message, 'textless.ts": it threw a value without a text');
});

test("serveWorkers() names a module that throws when it is imported, and what it throws", async () => {
  await using dir = new TempDir();
  const module = moduleOf("throws.ts");
  await using _printed = printing(`    at ${module.href}:`);
  const error = await assertRejects(
    () => serveWorkers({ path: dir.file("app.sock"), count: 1 }, module),
    Deno.errors.InvalidData,
  );
  assertEquals(
    error.message,
    `Cannot load the module "${module.href}": it threw TypeError: the table is missing`,
  );
  assertEquals(dir.list(), []);
});

test("serveWorkers() with startTimeout names a module that does not load, and ends it", async () => {
  await using dir = new TempDir();
  const module = moduleOf("hangs.ts");
  const error = await assertRejects(
    () => serveWorkers({ path: dir.file("app.sock"), count: 1, startTimeout: 500 }, module),
    Deno.errors.TimedOut,
  );
  assertStringIncludes(
    error.message,
    `Cannot start "${module.href}": it has not loaded within 500 ms. Raise startTimeout`,
  );
  assertEquals(dir.list(), []);
});

test("serveWorkers() names a module that ends its process before it serves", async () => {
  await using dir = new TempDir();
  const file = dir.file("ends.ts");
  await Deno.writeTextFile(file, "queueMicrotask(() => Deno.exit(9)); await 0;");
  await assertRejects(
    () => serveWorkers({ path: dir.file("app.sock"), count: 1 }, new URL(`file://${file}`)),
    Deno.errors.InvalidData,
    `Cannot load the module "file://${file}": it ended before it was loaded, with exit code 9`,
  );
});

test("reload() of a module that throws rejects, and the old workers go on", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("app.sock"), dir.file("app.ts")];
  const write = (text: string) => Deno.writeTextFile(file, text);
  await write(
    "export const connection = async (conn) => {" +
      "await conn.writeText(`${Deno.pid}\\n`); for await (const _ of conn.readable); };",
  );
  await using server = await serveWorkers({ path, count: 1 }, new URL(`file://${file}`));
  const before = await accepting(server);
  await write("throw new Error('of today')");
  await using _printed = printing(`    at file://${file}:1:7\n`);
  // A rejection that is not awaited does not end the owner.
  server.reload();
  await assertRejects(
    () => server.reload(),
    Deno.errors.InvalidData,
    `${file}": it threw Error: of today. The workers that were not replaced go on`,
  );
  assertEquals(await accepting(server), before);
  assertEquals((await ask(path)).pid, before[0]);
});

test("a worker prints without colors if its owner's standard error is not a terminal", async () => {
  await using dir = new TempDir();
  const file = dir.file("throws.ts");
  await Deno.writeTextFile(file, "throw new Error('in color')");
  await using owner = fixture("workers_owner.ts", ["-A"], [dir.file("app.sock"), "1", file]);
  // The owner's own report of its end is in color.
  assertStringIncludes(await owner.stderr(), "error: Uncaught (in promise) Error: in color\n");
});

test("serveWorkers() at a descriptor refuses what it cannot use", async () => {
  const module = moduleOf("pid.ts");
  const mistakes: [options: object, Class: new (message: string) => Error, message: string][] = [
    [{ fd: 2 }, RangeError, "Invalid fd"],
    [{ fd: 2 ** 30, mode: 0o600 }, TypeError, "Invalid mode: the socket of fd has its path"],
    [{ fd: 3, path: "/a" }, TypeError, "Invalid path: the socket of fd has its path"],
    [{ fd: 2 ** 30 }, NotASocket, "descriptor 1073741824: no listening Unix stream socket is open"],
  ];
  for (const [options, Class, message] of mistakes) {
    await assertRejects(() => serveWorkers(options as ServeWorkersOptions, module), Class, message);
  }
});
