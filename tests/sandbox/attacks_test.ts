import { pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { readText, run, TempDir, test } from "../_helpers.ts";

const PRELUDE = `
import fs from "node:fs";
import net from "node:net";
import dgram from "node:dgram";
import http from "node:http";
import tty from "node:tty";
import Module, { createRequire, registerHooks, _load } from "node:module";
const require = createRequire(import.meta.url);
const attempt = async (action) => {
  try { return String(await action()); } catch (error) { return error.name + ": " + error.message; }
};
const failing = (emitter) => new Promise((resolve, reject) => {
  emitter.on("error", reject);
  for (const event of ["listening", "connect"]) emitter.on(event, () => resolve(event));
});
const say = (value) => fs.writeSync(3, JSON.stringify(value));
`;

/** Returns what a module sends, parsed as JSON. Its text follows some imports and helpers. */
async function said(text: string, options: PairOptions = {}): Promise<unknown> {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("m.js"), PRELUDE + text);
  await using child = await pair(new URL(`file://${dir.file("m.js")}`), { grace: 50, ...options });
  const answer = await readText(child.conn);
  assert(answer !== null, "the module said nothing");
  return JSON.parse(answer);
}

// ---- Handles ------------------------------------------------------------------------------------

test("pair(module): a TCP handle listens where Deno has checked the address, and nowhere else", async () => {
  const text = `
    const server = net.createServer((socket) => socket.end("hello"));
    await failing(server.listen(0, "127.0.0.1"));
    const { port } = server.address();
    const handles = [new net.Socket(), new net.Socket()].map((socket) => {
      socket.on("error", () => {});
      socket.connect(port, "127.0.0.1");
      return socket._handle;
    });
    const codes = handles.map((handle) => [handle.listen(5), handle.open(5), handle.open(-1)]);
    const made = await attempt(() => new handles[0].constructor(1));
    const other = await new Promise((resolve) => {
      process.once("uncaughtException", (error) => resolve(error.name + ": " + error.message));
      net.createServer().listen(0, "0.0.0.0", () => resolve("listening"));
    });
    say([codes, made, other]);
    Deno.exit();`;
  const [codes, made, other] = await said(text, {
    permissions: { net: ["127.0.0.1"] },
  }) as [number[][], string, string];
  assertEquals(codes, [[-22, -9, -9], [-22, -9, -9]]);
  assertMatch(made, /is not a constructor/);
  assertMatch(other, /^NotCapable: Requires net access to "0\.0\.0\.0:0"/);
});

test("pair(module) allows node:net, node:http and node:dgram what is granted", async () => {
  const text = `
    const server = http.createServer((_, response) => response.end("over TCP"));
    await failing(server.listen(0, "127.0.0.1"));
    const first = await (await fetch("http://127.0.0.1:" + server.address().port)).text();
    const path = Deno.args[0];
    const unix = net.createServer((socket) => socket.end("over a path"));
    await failing(unix.listen(path));
    const second = await new Promise((resolve) => net.connect(path).on("data", (data) => resolve(String(data))));
    const udp = dgram.createSocket("udp4");
    udp.bind(0, "127.0.0.1");
    await failing(udp);
    udp.send("as a datagram", udp.address().port, "127.0.0.1");
    const third = await new Promise((resolve) => udp.on("message", (data) => resolve(String(data))));
    unix.close();
    say([first, second, third]);
    Deno.exit();`;
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  assertEquals(
    await said(text, {
      args: [path],
      permissions: { net: ["127.0.0.1", `unix:${path}`], read: [path], write: [path] },
    }),
    ["over TCP", "over a path", "as a datagram"],
  );
});

test(
  "pair(module): no descriptor from 4 to 60 can be adopted, read, written, looked at or closed",
  async () => {
    const text = `
    const ways = {
      "net.Socket": (fd) => new net.Socket({ fd }).on("error", () => {}),
      "net.Server": (fd) => failing(net.createServer().listen({ fd })),
      "http.Server": (fd) => failing(http.createServer().listen({ fd })),
      "dgram.Socket": (fd) => {
        const socket = dgram.createSocket("udp4");
        const bound = failing(socket);
        socket.bind({ fd });
        return bound;
      },
      "tty.ReadStream": (fd) => new tty.ReadStream(fd),
      "tty.WriteStream": (fd) => new tty.WriteStream(fd),
      "fs.readSync": (fd) => fs.readSync(fd, new Uint8Array(1)),
      "fs.writeSync": (fd) => fs.writeSync(fd, "x"),
      "fs.fstatSync": (fd) => fs.fstatSync(fd),
      "fs.ftruncateSync": (fd) => fs.ftruncateSync(fd),
      "fs.closeSync": (fd) => fs.closeSync(fd),
      "handle.open": (fd) => {
        const { _handle } = new net.Socket({ fd: 0 });
        const code = _handle.open({ valueOf: () => fd });
        if (code !== 0) throw new Error(String(code));
      },
    };
    const done = [];
    for (const [name, way] of Object.entries(ways)) {
      for (let fd = 4; fd <= 60; fd++) {
        try { await way(fd); done.push(name + " " + fd); } catch { /* as it should be */ }
      }
    }
    say(done);
    Deno.exit();`;
    assertEquals(await said(text, { stdin: "piped" }), []);
  },
  { deadline: 20_000 },
);

// ---- Deno's internals ---------------------------------------------------------------------------

test("pair(module): internal modules cannot be required, also with hooks and changed prototypes", async () => {
  const text = `
    String.prototype.startsWith = () => false;
    String.prototype.slice = () => "fs";
    Reflect.apply = () => "fs";
    WeakSet.prototype.has = () => true;
    const ids = ["internal/test/binding", "internal/child_process", "internal/options"];
    const all = ids.flatMap((id) => [id, "node:" + id]);
    const resolving = await attempt(() => { Module._resolveFilename = (id) => id; return "replaced"; });
    const tries = [];
    const tryAll = async () => {
      for (const id of all) {
        for (const load of [require, _load, Module._load, (id) => new Module("/x").require(id), process.getBuiltinModule]) {
          tries.push(await attempt(() => load(id)));
          tries.push(await attempt(() => load({ toString: () => id })));
        }
        tries.push(await attempt(() => import(id)));
      }
    };
    await tryAll();
    registerHooks({
      resolve: (id, context, next) => id.indexOf("hook:") === 0 ? { url: id.split("hook:")[1], shortCircuit: true } : next(id, context),
      load: (url, context, next) => next(url, context),
    });
    all.push(...all.map((id) => "hook:" + id));
    await tryAll();
    let at = 0;
    tries.push(await attempt(() => require({ toString: () => at++ < 3 ? "fs" : "internal/test/binding" })));
    say([resolving, tries]);`;
  const [resolving, tries] = await said(text) as [string, string[]];
  assertMatch(resolving, /^TypeError: Cannot assign to read only property/);
  const got = tries.filter((outcome) => !/^\w+: |^undefined$/.test(outcome));
  assertEquals(got, []);
  assert(tries.length > 150, `${tries.length}`);
});

test("pair(module): hidden names do not come back", async () => {
  const text = `
    const [internal] = Object.getOwnPropertySymbols(Deno);
    const outcomes = [];
    for (const action of [
      () => process.binding("tcp_wrap"),
      () => process._linkedBinding("tcp_wrap"),
      () => Object.getPrototypeOf(process).binding("tcp_wrap"),
      () => Deno[internal].core.ops,
      () => Object.getOwnPropertySymbols(Deno).map((key) => Deno[key].core).join() || nothing,
      () => { Object.defineProperty(Deno, internal, { value: 1 }); },
      () => import("ext:core/ops"),
      () => import("ext:core/mod.js"),
      () => import("ext:deno_node/internal_binding/mod.ts"),
      () => import("internal:core"),
      () => globalThis.__bootstrap.core,
      () => Deno.core.ops,
      () => Deno.bundle({ entrypoints: ["/etc/passwd"], write: false }),
      () => localStorage.setItem("a", "b"),
      () => caches.open("a"),
      () => Deno.openKv(":memory:"),
      () => navigator.gpu.requestAdapter(),
      () => { Object.setPrototypeOf(Worker, EventTarget); },
      () => new Worker("data:text/javascript,", { type: "module" }),
      () => Reflect.construct(Worker, ["data:text/javascript,", { type: "module" }], EventTarget),
      () => new (require("node:worker_threads").Worker)("1", { eval: true }),
      () => require("node:cluster").fork(),
      () => process.kill(Deno.ppid, 0),
      () => require("node:vm").runInNewContext("typeof Deno + typeof process") === "undefinedundefined" || taken,
    ]) outcomes.push(await attempt(action));
    say(outcomes);`;
  const outcomes = await said(text) as string[];
  const last = outcomes.pop();
  assertEquals(last, "true");
  const failures = outcomes.filter((outcome) =>
    !/^(TypeError|NotCapable|ReferenceError): /.test(outcome)
  );
  assertEquals(failures, []);
});

test("pair(module): the frames of an error's stack contain no function and no object of Deno", async () => {
  const text = `
    const found = [];
    let own = 0;
    Error.stackTraceLimit = 200;
    Error.prepareStackTrace = (_, sites) => {
      for (const site of sites) {
        const parts = [site.getFunction(), site.getThis()].filter((part) => part !== undefined && part !== globalThis);
        if (!String(site.getFileName()).startsWith("ext:")) own++;
        else if (parts.length > 0) found.push(site.getFileName() + " " + site.getFunctionName());
      }
    };
    const look = () => void new Error().stack;
    const steps = [setTimeout, setImmediate, queueMicrotask, process.nextTick, (f) => [1].map(f), (f) => [2, 1].sort(f)];
    for (const step of steps) await new Promise((resolve) => step(() => { look(); resolve(); }));
    addEventListener("x", look);
    dispatchEvent(new Event("x"));
    const socket = new net.Socket();
    socket.on("error", look);
    socket.destroy(new Error("x"));
    for (const read of [() => fs.readFileSync({ toString: look }), () => Deno.readTextFileSync({ toString: look })]) {
      await attempt(read);
    }
    console.log({ get [Symbol.for("nodejs.util.inspect.custom")]() { look(); return () => ""; } });
    await new Promise((resolve) => setTimeout(resolve, 10));
    say([own > 5, found]);`;
  assertEquals(await said(text, { stdout: "null" }), [true, []]);
});

test("pair(module): additions to prototypes receive nothing that leads to an operation of Deno", async () => {
  const text = `
    const caught = new Set();
    const add = Set.prototype.add;
    const catchIt = (value) => {
      if (typeof value === "object" && value !== null || typeof value === "function") Reflect.apply(add, caught, [value]);
    };
    const names = ["nodeProcessUnhandledRejectionCallback", "nodeProcessRejectionHandledCallback"]
      .concat("__isWorkerThread", "__nodeProcessBootstrapped", "_dispatchedFatalErrors", "__inspectorNetwork")
      .concat("core", "ops", "handle", "_handle", "rid", "fd", "owner", "0", "1");
    const refused = [];
    for (const prototype of [Object.prototype, Function.prototype, Array.prototype]) {
      for (const name of names) {
        const isDone = Reflect.defineProperty(prototype, name, {
          __proto__: null,
          configurable: true,
          get() { catchIt(this); },
          set(value) {
            catchIt(this);
            catchIt(value);
            Object.defineProperty(this, name, { __proto__: null, value, writable: true, configurable: true, enumerable: true });
          },
        });
        if (!isDone) refused.push(prototype === Object.prototype);
      }
    }
    const { call, apply, bind } = Function.prototype;
    for (const [name, native] of Object.entries({ call, apply, bind })) {
      const isDone = Reflect.defineProperty(Function.prototype, name, {
        value(...values) {
          catchIt(this);
          values.forEach(catchIt);
          return Reflect.apply(native, this, values);
        },
      });
      if (!isDone) refused.push(true);
    }
    process.on("uncaughtException", () => {});
    process.on("unhandledRejection", () => {});
    Promise.reject(new Error("x"));
    for (const id of ["node:worker_threads", "node:child_process", "node:cluster", "node:http2", "node:test"]) await import(id);
    new net.Socket().on("error", () => {}).connect(1, "127.0.0.1");
    await attempt(() => new Deno.Command("true").spawn());
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const prototype of [Object.prototype, Function.prototype, Array.prototype]) for (const name of names) delete prototype[name];
    const operations = [];
    const queue = [...caught];
    for (let object; (object = queue.pop());) {
      if (typeof object === "function" && object.name.startsWith("op_")) operations.push(object.name);
      if (object === globalThis) continue;
      for (const key of Reflect.ownKeys(object)) {
        const value = Reflect.getOwnPropertyDescriptor(object, key)?.value;
        if ((typeof value === "object" && value !== null || typeof value === "function") && !caught.has(value)) {
          caught.add(value);
          queue.push(value);
        }
      }
    }
    say([operations, refused.length === names.length + 3 && refused.every(Boolean)]);
    Deno.exit();`;
  assertEquals(await said(text), [[], true]);
});

// ---- What lies beside a module ------------------------------------------------------------------

test("pair(module): nothing beside the module is opened, by the parent or the child", async () => {
  await using dir = new TempDir();
  await Deno.mkdir(dir.file("own"));
  const names = ["deno.json", "deno.jsonc", "package.json", "tsconfig.json", "jsconfig.json"]
    .concat(".npmrc", "deno.lock", "import_map.json", ".env", "node_modules");
  // Opening a fifo blocks.
  const fifos = [dir.path, dir.file("own")].flatMap((at) => names.map((name) => `${at}/${name}`));
  assertEquals((await run("mkfifo", fifos)).code, 0);
  await Deno.writeTextFile(
    dir.file("own/m.tsx"),
    `import fs from "node:fs"; fs.writeSync(3, String(() => <a/>));`,
  );
  const options = { cwd: dir.file("own"), signal: AbortSignal.timeout(8000) };
  await using child = await pair(new URL(`file://${dir.file("own/m.tsx")}`), options);
  assertMatch(await readText(child.conn) ?? "", /React\.createElement\("a"/);
}, { needs: ["mkfifo"] });

test("pair(module) takes `config` for a module only, and only as a file: URL", async () => {
  const wrong = { config: "/deno.json" } as unknown as PairOptions;
  await assertRejects(() => pair(new URL("file:///m.ts"), wrong), TypeError, "Invalid config");
  const config = new URL("https://example.com/deno.json");
  await assertRejects(() => pair(new URL("file:///m.ts"), { config }), TypeError, "config");
  const file = new URL("file:///deno.json");
  await assertRejects(() => pair("true", { config: file }), TypeError, `"modules" are those of a`);
});
