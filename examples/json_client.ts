/**
 * A client with several calls in flight, which are typed by the interface of the server.
 *
 * Terminal 1: deno run -RWN examples/json_server.ts /tmp/json.sock
 * Terminal 2: deno run -RWN examples/json_client.ts /tmp/json.sock
 */

import { connect } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import type { Service } from "./json_server.ts";

const conn = await connect({ path: Deno.args[0] ?? "./json.sock", wait: true });
await using server = rpc<Service>(conn, { timeout: 5000 });

await Promise.all([
  server.call("sleep", { ms: 100 }).then(console.log),
  server.call("sum", [1, 2, 3]).then((sum) => console.log(`1 + 2 + 3 = ${sum}`)),
  server.call("sum", ["1"] as never).catch((error) =>
    console.log(`${error.code} ${error.message}`)
  ),
]);
