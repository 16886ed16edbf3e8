/**
 * A stand-in for a Docker daemon. It answers the requests of docker.ts, and of `docker ps`.
 *
 * Terminal 1: deno run -RWN examples/docker_stand_in.ts /tmp/docker.sock
 * Terminal 2: deno run -RWN examples/docker.ts /tmp/docker.sock
 */

import { claim, shutdownOnSignal } from "@uds/uds";

const API = "1.44";
const CONTAINER = {
  Id: "c0ffee123456".padEnd(64, "0"),
  Names: ["/sleeper"],
  Image: "alpine:3",
  Command: "sleep 1000",
  Created: Math.floor(Date.now() / 1000) - 300,
  State: "running",
  Status: "Up 5 minutes",
  Ports: [],
};

function answer(request: Request): Response {
  const resource = new URL(request.url).pathname.replace(/^\/v[0-9.]+(?=\/)/, "");
  switch (resource) {
    case "/_ping":
      return new Response("OK", { headers: { "API-Version": API, "OSType": "linux" } });
    case "/version":
      return Response.json({ Version: "0.0-stand-in", ApiVersion: API, Os: "linux" });
    case "/containers/json":
      return Response.json([CONTAINER]);
    default:
      return Response.json({ message: `no such resource: ${resource}` }, { status: 404 });
  }
}

await using path = await claim(Deno.args[0] ?? "./docker.sock");
const server = await path.bind(() => Deno.serve({ path: path.path, onListen() {} }, answer));
using _signals = shutdownOnSignal(server);
console.log(`listening on ${path.path}`);
await server.finished;
