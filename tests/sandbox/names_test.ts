import { pair } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { readText, run, TempDir, test } from "../_helpers.ts";

/**
 * The names of Deno that a module without permissions finds, by their treatment and its reason. A
 * name in none of these tables is new in a later Deno: find out what it does, and add it.
 */
type Table = Record<string, string>;

const DENO: Table = {
  "hidden: it leads to the operations of Deno": `
    internal
  `,
  "hidden: it reads files in a process of its own": `
    bundle
  `,
  "hidden: it writes below Deno's cache": `
    AtomicOperation Kv KvListIterator KvU64 openKv
  `,
  "hidden: it opens devices or windows": `
    UnsafeWindowSurface webgpu
  `,
  "hidden: no module needs it": `
    Process bench cron lint run telemetry test
  `,
  "allowed: it throws outside of deno jupyter": `
    jupyter
  `,
  "allowed: it asks for read, write or both": `
    FsFile SeekMode chdir chmod chmodSync chown chownSync copyFile copyFileSync create
    createSync link linkSync lstat lstatSync makeTempDir makeTempDirSync makeTempFile
    makeTempFileSync mkdir mkdirSync open openSync readDir readDirSync readFile
    readFileSync readLink readLinkSync readTextFile readTextFileSync realPath realPathSync
    remove removeSync rename renameSync stat statSync symlink symlinkSync truncate
    truncateSync utime utimeSync watchFs writeFile writeFileSync writeTextFile
    writeTextFileSync
  `,
  "allowed: it asks for net": `
    HttpClient QuicBidirectionalStream QuicConn QuicEndpoint QuicIncoming QuicListener
    QuicReceiveStream QuicSendStream connect connectQuic connectTls createHttpClient
    listen listenDatagram listenTls resolveDns serve serveHttp startTls upgradeWebSocket
    upgradeWebTransport
  `,
  "allowed: it asks for run, or its signal goes to this process": `
    ChildProcess Command addSignalListener kill removeSignalListener spawn spawnAndWait
    spawnAndWaitSync
  `,
  "allowed: it asks for env, sys or ffi": `
    UnsafeCallback UnsafeFnPointer UnsafePointer UnsafePointerView dlopen env gid hostname
    loadavg networkInterfaces osRelease osUptime systemMemoryInfo uid umask
  `,
  "allowed: it says what PairOptions.permissions says that a module can see": `
    args build consoleSize cpuUsage cwd execPath mainModule memoryUsage noColor pid ppid
    version
  `,
  "allowed: it stays in this process, or uses its standard streams": `
    PermissionStatus Permissions errors exit exitCode inspect isatty permissions refTimer
    stderr stdin stdout unrefTimer
  `,
};

const PROCESS: Table = {
  "hidden: it has handles": `
    _getActiveHandles _getActiveRequests binding
  `,
  "hidden: it is for debuggers": `
    _debugEnd _debugProcess
  `,
  "allowed: it asks for a permission, or its signal goes to this process": `
    _kill availableMemory chdir constrainedMemory dlopen env getegid geteuid getgid
    getgroups getuid kill loadEnvFile report setegid seteuid setgid setuid umask
  `,
  "allowed: it stays in this process, or says what a module can see": `
    _eval _events _eventsCount _exiting _fatalException _maxListeners _rawDebug abort
    allowedNodeEnvironmentFlags arch argv argv0 config cpuUsage cwd debugPort emitWarning
    execArgv execPath exit exitCode features getActiveResourcesInfo getBuiltinModule
    hasUncaughtExceptionCaptureCallback hrtime mainModule memoryUsage moduleLoadList
    nextTick noDeprecation openStdin pid platform ppid reallyExit release resourceUsage
    setSourceMapsEnabled setUncaughtExceptionCaptureCallback sourceMapsEnabled stderr
    stdin stdout threadCpuUsage title uptime version versions
  `,
};

const GLOBAL: Table = {
  "hidden: it loads what node: needs": `
    nodeBootstrap
  `,
  "hidden: it writes below Deno's cache": `
    Cache CacheStorage caches localStorage
  `,
  "hidden: it opens devices": `
    GPU GPUAdapter GPUAdapterInfo GPUBindGroup GPUBindGroupLayout GPUBuffer GPUBufferUsage
    GPUCanvasContext GPUColorWrite GPUCommandBuffer GPUCommandEncoder GPUCompilationInfo
    GPUCompilationMessage GPUComputePassEncoder GPUComputePipeline GPUDevice
    GPUDeviceLostInfo GPUError GPUInternalError GPUMapMode GPUOutOfMemoryError
    GPUPipelineError GPUPipelineLayout GPUQuerySet GPUQueue GPURenderBundle
    GPURenderBundleEncoder GPURenderPassEncoder GPURenderPipeline GPUSampler
    GPUShaderModule GPUShaderStage GPUSupportedFeatures GPUSupportedLimits GPUTexture
    GPUTextureUsage GPUTextureView GPUUncapturedErrorEvent GPUValidationError
  `,
  "refused: it would have all that is hidden": `
    Worker
  `,
  "allowed: it asks for net": `
    EventSource WebSocket WebSocketStream WebTransport fetch
  `,
  "allowed: its value is what is left of it": `
    Deno global globalThis process self
  `,
  "allowed: it is of the language, of the web, or of Node, and stays in this process": `
    AbortController AbortSignal AggregateError Array ArrayBuffer AsyncDisposableStack
    Atomics BigInt BigInt64Array BigUint64Array Blob Boolean BroadcastChannel Buffer
    ByteLengthQueuingStrategy CSSRule CSSStyleSheet CloseEvent CompressionStream
    CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException DOMMatrix
    DOMMatrixReadOnly DOMPoint DOMPointReadOnly DOMQuad DOMRect DOMRectReadOnly DataView
    Date DecompressionStream DisposableStack Error ErrorEvent EvalError Event EventTarget
    File FileReader FinalizationRegistry Float16Array Float32Array Float64Array FormData
    Function Headers ImageBitmap ImageBitmapRenderingContext ImageData Infinity Int16Array
    Int32Array Int8Array Intl Iterator JSON Location Lock LockManager Map Math
    MessageChannel MessageEvent MessagePort NaN Navigator NavigatorUAData Number Object
    OffscreenCanvas Performance PerformanceEntry PerformanceMark PerformanceMeasure
    PerformanceObserver PerformanceObserverEntryList ProgressEvent Promise
    PromiseRejectionEvent Proxy QuotaExceededError RangeError ReadableByteStreamController
    ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest
    ReadableStreamDefaultController ReadableStreamDefaultReader ReferenceError Reflect
    RegExp Request Response Set SharedArrayBuffer Storage String SubtleCrypto
    SuppressedError Symbol SyntaxError Temporal TextDecoder TextDecoderStream TextEncoder
    TextEncoderStream TransformStream TransformStreamDefaultController TypeError URIError
    URL URLPattern URLSearchParams Uint16Array Uint32Array Uint8Array Uint8ClampedArray
    WeakMap WeakRef WeakSet WebAssembly WebSocketError WebTransportBidirectionalStream
    WebTransportDatagramDuplexStream WebTransportError WebTransportReceiveStream
    WebTransportSendGroup WebTransportSendStream Window WritableStream
    WritableStreamDefaultController WritableStreamDefaultWriter alert atob btoa
    clearImmediate clearInterval clearTimeout close closed confirm console
    createImageBitmap crypto decodeURI decodeURIComponent encodeURI encodeURIComponent
    escape eval isFinite isNaN location name navigator onbeforeunload onerror onload
    onunhandledrejection onunload parseFloat parseInt performance prompt queueMicrotask
    reportError sessionStorage setImmediate setInterval setTimeout structuredClone
    undefined unescape
  `,
};

const BUILTINS: Table = {
  "refused: its class Worker throws": `
    worker_threads
  `,
  "refused: it asks for run": `
    child_process cluster
  `,
  "refused: it asks for sys=inspector": `
    inspector inspector/promises
  `,
  "allowed: it asks for read, write or both, and sqlite has databases in memory": `
    fs fs/promises node:sqlite v8 wasi
  `,
  "allowed: it asks for net, and its handles are confined": `
    _http_agent _http_common _http_outgoing _http_server _tls_common _tls_wrap dgram dns
    dns/promises http http2 https net tls
  `,
  "allowed: it asks for env or sys, or has what the global process has": `
    os process
  `,
  "allowed: it finds public modules, and files by permission": `
    module
  `,
  "allowed: it takes the standard streams, and other descriptors by permission": `
    readline readline/promises repl tty
  `,
  "allowed: it stays in this process": `
    _stream_duplex _stream_passthrough _stream_readable _stream_transform _stream_writable
    assert assert/strict async_hooks buffer console constants crypto diagnostics_channel
    domain events node:test node:test/reporters path path/posix path/win32 perf_hooks
    punycode querystring stream stream/consumers stream/promises stream/web string_decoder
    sys timers timers/promises trace_events url util util/types vm zlib
  `,
};

/** Returns the names of the entries that begin with one of some texts. */
function namesOf(table: Table, ...beginnings: string[]): string[] {
  return Object.entries(table)
    .filter(([reason]) => beginnings.some((beginning) => reason.startsWith(beginning)))
    .flatMap(([, names]) => names.trim().split(/\s+/)).sort();
}

interface Reached {
  deno: string[];
  process: string[];
  global: string[];
  builtins: Record<string, string>;
  operations: string[];
  classes: string[];
  count: number;
}

const UNSTABLE = ["bundle", "cron", "ffi", "kv", "net", "raw-imports", "vsock", "webgpu"]
  .concat("worker-options");

let reaching: Promise<Reached> | undefined;

/** Returns what the fixture reaches in a sandbox, with all unstable features. */
async function reach(): Promise<Reached> {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify({ unstable: UNSTABLE }));
  await using child = await pair(new URL("../fixtures/sandbox/reach.ts", import.meta.url), {
    config: new URL(`file://${dir.file("deno.json")}`),
    stderr: "null",
  });
  return JSON.parse(await readText(child.conn) ?? "");
}

/** Returns the own names of an expression in a plain Deno, with all unstable features. */
async function namesInDeno(expression: string): Promise<string[]> {
  const text = `Reflect.ownKeys(${expression}).filter((key) => typeof key === "string")`;
  const flags = UNSTABLE.map((name) => `--unstable-${name}`);
  const script = `data:text/javascript,${
    encodeURIComponent(
      `process.getBuiltinModule("node:module");console.log(JSON.stringify(${text}))`,
    )
  }`;
  const { stdout } = await run(Deno.execPath(), ["run", "--no-config", ...flags, script]);
  return JSON.parse(stdout).sort();
}

const TABLES: [key: "deno" | "process" | "global", expression: string, table: Table][] = [
  ["deno", "Deno", DENO],
  ["process", "process", PROCESS],
  ["global", "globalThis", GLOBAL],
];
for (const [key, expression, table] of TABLES) {
  test(
    `pair(module): every property of ${expression} is allowed, refused or hidden for a reason`,
    async () => {
      assertEquals(await namesInDeno(expression), namesOf(table, ""));
      const found = (await (reaching ??= reach()))[key].sort();
      assertEquals(found, namesOf(table, "allowed", "refused"));
    },
    { deadline: 20_000 },
  );
}

test(
  "pair(module): every built-in module of node: is allowed or refused for a reason",
  async () => {
    const { builtins } = await (reaching ??= reach());
    assertEquals(Object.keys(builtins).sort(), namesOf(BUILTINS, ""));
    assertEquals(Object.values(builtins).filter((message) => message !== ""), []);
  },
  { deadline: 20_000 },
);

test(
  "pair(module): nothing that it can reach leads to an operation of Deno or the class of a handle",
  async () => {
    const { operations, classes, count } = await (reaching ??= reach());
    assert(count > 6000, `${count}`);
    // The operation asks for read permission. The class needs a handle to wrap.
    assertEquals([operations, classes], [["node:module._stat"], ["TLSWrap"]]);
  },
  { deadline: 20_000 },
);
