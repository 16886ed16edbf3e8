/**
 * The names that a module in a sandbox has. Every other property that Deno has, today or in a later
 * version, is removed before the module runs. Review a name before you add it:
 *
 * - It requires a permission, or has no effect outside its process.
 * - It does not write below Deno's cache without a permission (`caches`, `localStorage`, Deno KV),
 *   open devices (WebGPU), start programs of Deno's own (`Deno.bundle`), or lead to Deno's
 *   internals.
 */

function names(list: string): string[] {
  return list.trim().split(/\s+/);
}

/** Properties of `Deno`. */
export const DENO_NAMES: string[] = names(`
  ChildProcess Command FsFile HttpClient PermissionStatus Permissions QuicBidirectionalStream
  QuicConn QuicEndpoint QuicIncoming QuicListener QuicReceiveStream QuicSendStream SeekMode
  UnsafeCallback UnsafeFnPointer UnsafePointer UnsafePointerView addSignalListener args build
  chdir chmod chmodSync chown chownSync connect connectQuic connectTls consoleSize copyFile
  copyFileSync cpuUsage create createHttpClient createSync cwd dlopen env errors execPath exit
  exitCode gid hostname inspect isatty jupyter kill link linkSync listen listenDatagram listenTls
  loadavg lstat lstatSync mainModule makeTempDir makeTempDirSync makeTempFile makeTempFileSync
  memoryUsage mkdir mkdirSync networkInterfaces noColor open openSync osRelease osUptime
  permissions pid ppid readDir readDirSync readFile readFileSync readLink readLinkSync
  readTextFile readTextFileSync realPath realPathSync refTimer remove removeSignalListener
  removeSync rename renameSync resolveDns serve serveHttp spawn spawnAndWait spawnAndWaitSync
  startTls stat statSync stderr stdin stdout symlink symlinkSync systemMemoryInfo truncate
  truncateSync uid umask unrefTimer upgradeWebSocket upgradeWebTransport utime utimeSync version
  watchFs writeFile writeFileSync writeTextFile writeTextFileSync
`);

/** Properties of `globalThis`. */
export const GLOBAL_NAMES: string[] = names(`
  AbortController AbortSignal AggregateError Array ArrayBuffer AsyncDisposableStack Atomics
  BigInt BigInt64Array BigUint64Array Blob Boolean BroadcastChannel Buffer
  ByteLengthQueuingStrategy CSSRule CSSStyleSheet CloseEvent CompressionStream
  CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException DOMMatrix DOMMatrixReadOnly
  DOMPoint DOMPointReadOnly DOMQuad DOMRect DOMRectReadOnly DataView Date DecompressionStream
  Deno DisposableStack Error ErrorEvent EvalError Event EventSource EventTarget File FileReader
  FinalizationRegistry Float16Array Float32Array Float64Array FormData Function Headers
  ImageBitmap ImageBitmapRenderingContext ImageData Infinity Int16Array Int32Array Int8Array
  Intl Iterator JSON Location Lock LockManager Map Math MessageChannel MessageEvent MessagePort
  NaN Navigator NavigatorUAData Number Object OffscreenCanvas Performance PerformanceEntry
  PerformanceMark PerformanceMeasure PerformanceObserver PerformanceObserverEntryList
  ProgressEvent Promise PromiseRejectionEvent Proxy QuotaExceededError RangeError
  ReadableByteStreamController ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest
  ReadableStreamDefaultController ReadableStreamDefaultReader ReferenceError Reflect RegExp
  Request Response Set SharedArrayBuffer Storage String SubtleCrypto SuppressedError Symbol
  SyntaxError Temporal TextDecoder TextDecoderStream TextEncoder TextEncoderStream
  TransformStream TransformStreamDefaultController TypeError URIError URL URLPattern
  URLSearchParams Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet
  WebAssembly WebSocket WebSocketError WebSocketStream WebTransport
  WebTransportBidirectionalStream WebTransportDatagramDuplexStream WebTransportError
  WebTransportReceiveStream WebTransportSendGroup WebTransportSendStream Window Worker
  WritableStream WritableStreamDefaultController WritableStreamDefaultWriter alert atob btoa
  clearImmediate clearInterval clearTimeout close closed confirm console createImageBitmap
  crypto decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval fetch global
  globalThis isFinite isNaN location name navigator onbeforeunload onerror onload
  onunhandledrejection onunload parseFloat parseInt performance process prompt queueMicrotask
  reportError self sessionStorage setImmediate setInterval setTimeout structuredClone undefined
  unescape
`);

/** Properties of `process`. */
export const PROCESS_NAMES: string[] = names(`
  _eval _events _eventsCount _exiting _fatalException _kill _maxListeners _rawDebug abort
  allowedNodeEnvironmentFlags arch argv argv0 availableMemory chdir config constrainedMemory
  cpuUsage cwd debugPort dlopen emitWarning env execArgv execPath exit exitCode features
  getActiveResourcesInfo getBuiltinModule getegid geteuid getgid getgroups getuid
  hasUncaughtExceptionCaptureCallback hrtime kill loadEnvFile mainModule memoryUsage
  moduleLoadList nextTick noDeprecation openStdin pid platform ppid reallyExit release report
  resourceUsage setSourceMapsEnabled setUncaughtExceptionCaptureCallback setegid seteuid setgid
  setuid sourceMapsEnabled stderr stdin stdout threadCpuUsage title umask uptime version
  versions
`);

/**
 * Methods of handles: of pipes, TCP and UDP sockets, and terminals of node:net, node:dgram,
 * node:tty.
 */
export const HANDLE_NAMES: string[] = names(`
  _onClose accept addMembership addSourceSpecificMembership asyncReset bind bind6 bindWithFlags
  bufferSize close connect connect6 constructor disconnect dropMembership
  dropSourceSpecificMembership fchmod fd fdForIpc getAsyncId getBytesRead getBytesWritten
  getProviderType getWindowSize getpeername getsockname hasRef isStreamBase listen open
  openFromRid provider readStart readStop recvStart recvStop ref reset send send6 setBlocking
  setBroadcast setHandle setKeepAlive setMulticastInterface setMulticastLoopback setMulticastTTL
  setNetPermToken setNoDelay setPendingInstances setRawMode setTTL shutdown socketTypeForIpc
  takeStream unref useUserBuffer writeAsciiString writeBuffer writeLatin1String writeUcs2String
  writeUtf8String writev
`);
