import { type ByteWriter, type Codec, connect, messages } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { decode, encode, Program, test } from "../_helpers.ts";
import { asUser, checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

/** A record of FastCGI, of request 1. */
interface FcgiRecord {
  type: number;
  content: Uint8Array;
}

/**
 * ```text
 * +---------+------+---------+--------+---------+----------+---------+---------+
 * | version | type | request | length | padding | reserved | content | padding |
 * |    1    |  1   |    2    |   2    |    1    |    1     | length  |         |
 * +---------+------+---------+--------+---------+----------+---------+---------+
 * ```
 */
const FASTCGI: Codec<FcgiRecord> = {
  maxBytes: 8 + 0xffff + 0xff,
  encode({ type, content }: FcgiRecord, out: ByteWriter) {
    out.bytes(new Uint8Array([1, type, 0, 1, content.length >> 8, content.length & 0xff, 0, 0]));
    out.bytes(content);
  },
  decode(bytes: Uint8Array) {
    if (bytes.length < 8) return undefined;
    const [, type, , , high, low, padding] = bytes as unknown as number[];
    const length = high! << 8 | low!;
    const end = 8 + length + padding!;
    if (bytes.length < end) return end;
    return { message: { type: type!, content: bytes.slice(8, 8 + length) }, end };
  },
};

const [BEGIN, END, PARAMS, STDIN, STDOUT] = [1, 3, 4, 5, 6];

/** Returns the lengths of a name and a value, and both. */
function parameter(name: string, value: string): Uint8Array<ArrayBuffer> {
  return encode(String.fromCharCode(name.length, value.length) + name + value);
}

/** The name of php-fpm has its version in Debian. */
const PHP = [...Deno.readDirSync("/usr/sbin")].map(({ name }) => name)
  .find((name) => name.startsWith("php-fpm")) ?? "php-fpm";

test("messages() with a codec of FastCGI posts 1 MB to php-fpm through uds relay", async () => {
  await using dir = new UserDir();
  const [path, relayed] = [dir.file("fpm.sock"), dir.file("relayed.sock")];
  const pool = ["[www]", `listen = ${path}`, "pm = static", "pm.max_children = 2"];
  const configuration = ["[global]", `error_log = ${dir.file("log")}`, ...pool, ""];
  await Deno.writeTextFile(dir.file("conf"), configuration.join("\n"));
  const script = dir.file("sum.php");
  const php = '<?php $all = file_get_contents("php://input");' +
    ' header("X-Length: " . strlen($all)); echo hash("sha256", $all), "\\n", $all;';
  await Deno.writeTextFile(script, php);
  const command = [PHP, "-n", "-F", "-p", dir.path, "-y", dir.file("conf")];
  await using server = await start(command, path);
  await using relay = await Relay.start(relayed, path);
  await using session = messages(await connect(relayed), FASTCGI);
  const body = encode("0123456789abcdef".repeat(65_536));
  const role = new Uint8Array([0, 1, 0, 0, 0, 0, 0, 0]);
  const environment = { SCRIPT_FILENAME: script, REQUEST_METHOD: "POST", CONTENT_TYPE: "x/x" };
  const all = { ...environment, CONTENT_LENGTH: String(body.length) };
  const parameters = Object.entries(all).flatMap(([k, v]) => [...parameter(k, v)]);
  await session.send({ type: BEGIN!, content: role });
  await session.send({ type: PARAMS!, content: new Uint8Array(parameters) });
  await session.send({ type: PARAMS!, content: new Uint8Array() });
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const receiving = (async () => {
    for await (const { type, content } of session) {
      if (type === STDOUT) parts.push(content as Uint8Array<ArrayBuffer>);
      // The status of the program and of the protocol.
      if (type === END) return [...content.subarray(0, 5)];
    }
  })();
  for (let at = 0; at < body.length; at += 32_768) {
    await session.send({ type: STDIN!, content: body.subarray(at, at + 32_768) });
  }
  await session.send({ type: STDIN!, content: new Uint8Array() });
  assertEquals(await receiving, [0, 0, 0, 0, 0]);
  const answer = await new Blob(parts).text();
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", body)).toHex();
  assertStringIncludes(answer, `X-Length: ${body.length}\r\n`);
  assertEquals(answer.slice(answer.indexOf("\r\n\r\n") + 4) === `${sum}\n${decode(body)}`, true);
  assertEquals(await session.receive(), undefined);
  await relay.end();
  await stop(server);
  const what = "a POST of 1 MB, and the same back, compared by checksum";
  const way = "`messages()` with a codec of FastCGI, `uds relay`";
  await checked("php-fpm", [PHP, "-v"], way, what);
}, { needs: [PHP], deadline: 30_000 });

const GRPC_SERVER = `
import grpc, sys
from concurrent import futures
def total(requests, context): return str(sum(int(each) for each in requests)).encode()
def count(request, context):
    for i in range(int(request)): yield str(i).encode()
def echo(requests, context):
    for each in requests: yield each
handlers = grpc.method_handlers_generic_handler("uds.Test", {
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
})
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handlers,))
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
print("ready", flush=True)
server.wait_for_termination()
`;

const GRPC_CLIENT = `
import grpc, sys
with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
    numbers = [str(i).encode() for i in range(1000)]
    assert channel.stream_unary("/uds.Test/Total")(iter(numbers)) == b"499500"
    assert list(channel.unary_stream("/uds.Test/Count")(b"1000")) == numbers
    large = [bytes([i]) * 1000000 for i in range(20)]
    assert list(channel.stream_stream("/uds.Test/Echo")(iter(large))) == large
    try:
        channel.unary_unary("/uds.Test/Missing")(b"")
        sys.exit("no error")
    except grpc.RpcError as error: assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    print(grpc.__version__)
`;

test("gRPC streams both ways through uds relay", async () => {
  await using dir = new UserDir();
  const [path, relayed] = [dir.file("grpc.sock"), dir.file("relayed.sock")];
  const [program = "", ...args] = asUser("/usr/bin/python3", "-c", GRPC_SERVER, path);
  await using server = new Program(program, args);
  assertEquals(await server.line(), "ready");
  await using relay = await Relay.start(relayed, path);
  const version = (await output(["/usr/bin/python3", "-c", GRPC_CLIENT, relayed])).trim();
  await relay.end();
  await stop(server);
  const what = "streams of 1,000 messages, 20 MB both ways, an error";
  await checked("gRPC, python3-grpcio", ["echo", version], "`uds relay`", what);
}, { needs: ["python3"], deadline: 30_000 });
