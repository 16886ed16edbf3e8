// Options that are `undefined`, as code with exact optional types passes them on.
import {
  claim,
  type ClaimOptions,
  connect,
  type ConnectOptions,
  type ContentLengthOptions,
  type DelimitedOptions,
  type InheritedOptions,
  type LengthPrefixedOptions,
  lines,
  type LinesOptions,
  type ListenFdOptions,
  type ListenOptions,
  messages,
  type MessagesOptions,
  type PairOptions,
  type PermissionsOptions,
  type ProbeOptions,
  type ReadOptions,
  type ReceiveOptions,
  type RelayOptions,
  serve,
  type ServeFdOptions,
  type ServeOptions,
  type ShutdownOptions,
  type SocketPairOptions,
} from "@uds/uds";
import type { PoolCallOptions, PoolOptions } from "@uds/uds/pool";
import {
  type CallOptions,
  type ClientCallOptions,
  rpc,
  type RpcClientOptions,
  type RpcOptions,
} from "@uds/uds/rpc";
import type { ServeWorkersFdOptions, ServeWorkersOptions } from "@uds/uds/workers";
import { assertEquals } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

/** `true` if every option but the path and the descriptor may be `undefined`. */
type Accepts<T> = { [K in keyof Omit<T, "path" | "fd">]?: T[K] | undefined } extends
  Partial<Omit<T, "path" | "fd">> ? true : false;

/** Compiles only if all of them do. */
const ACCEPTED: true[] = [
  true satisfies Accepts<CallOptions>,
  true satisfies Accepts<ClaimOptions>,
  true satisfies Accepts<ClientCallOptions>,
  true satisfies Accepts<ConnectOptions>,
  true satisfies Accepts<ContentLengthOptions>,
  true satisfies Accepts<DelimitedOptions>,
  true satisfies Accepts<InheritedOptions>,
  true satisfies Accepts<LengthPrefixedOptions>,
  true satisfies Accepts<LinesOptions>,
  true satisfies Accepts<ListenFdOptions>,
  true satisfies Accepts<ListenOptions>,
  true satisfies Accepts<MessagesOptions>,
  true satisfies Accepts<PairOptions>,
  true satisfies Accepts<PermissionsOptions>,
  true satisfies Accepts<PoolCallOptions>,
  true satisfies Accepts<PoolOptions>,
  true satisfies Accepts<ProbeOptions>,
  true satisfies Accepts<ReadOptions>,
  true satisfies Accepts<ReceiveOptions>,
  true satisfies Accepts<RelayOptions>,
  true satisfies Accepts<RpcClientOptions>,
  true satisfies Accepts<RpcOptions>,
  true satisfies Accepts<ServeFdOptions>,
  true satisfies Accepts<ServeOptions>,
  true satisfies Accepts<ServeWorkersFdOptions>,
  true satisfies Accepts<ServeWorkersOptions>,
  true satisfies Accepts<ShutdownOptions>,
  true satisfies Accepts<SocketPairOptions>,
];

test("options that are undefined have their defaults", async () => {
  assertEquals(new Set(ACCEPTED), new Set([true]));
  await using dir = new TempDir();
  const signal: AbortSignal | undefined = undefined;
  const path = dir.file("s.sock");
  await using server = await serve(
    {
      path,
      signal,
      mode: undefined,
      existing: undefined,
      publish: undefined,
      maxConnections: undefined,
      idleTimeout: undefined,
      onError: undefined,
      authorize: undefined,
      overflow: undefined,
    },
    (conn) => rpc(conn, { methods: { one: () => 1 }, timeout: undefined, codec: undefined }).closed,
  );
  await using conn = await connect({ path, signal, timeout: undefined, wait: undefined });
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  await using client = messages(conn, lines({ maxBytes: undefined, tooLong: undefined }), {
    maxPending: undefined,
    draining: undefined,
  });
  await client.send('{"jsonrpc":"2.0","id":1,"method":"one"}');
  assertEquals(await client.receive({ signal }), '{"jsonrpc":"2.0","id":1,"result":1}');
  await client.closeWrite();
  assertEquals(await conn.closed, undefined);
  await server.shutdown({ timeout: undefined });
  await using _claim = await claim(path, { mode: undefined, publish: undefined });
});
