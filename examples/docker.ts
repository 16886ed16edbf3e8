/**
 * A client of Docker's API: HTTP over the daemon's socket, by fetch.
 *
 * Terminal 1: deno run -RWN examples/docker_stand_in.ts /tmp/docker.sock
 * Terminal 2: deno run -RWN examples/docker.ts /tmp/docker.sock
 */

import { probe } from "@uds/uds";

interface Version {
  Version: string;
  ApiVersion: string;
}
interface Container {
  Id: string;
  Image: string;
  Status: string;
}

const path = Deno.args[0] ?? "/var/run/docker.sock";

// `fetch` reports every failure alike. `probe` knows the reason.
const { state } = await probe(path);
if (state !== "alive") {
  console.error(`There is no Docker at ${path}: ${state}`);
  Deno.exit(1);
}

using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });

async function get<T>(resource: string): Promise<T> {
  const response = await fetch(`http://docker${resource}`, { client });
  if (!response.ok) throw new Error(`${resource}: ${response.status} ${await response.text()}`);
  return await response.json();
}

const { Version, ApiVersion } = await get<Version>("/version");
console.log(`Docker ${Version}, API ${ApiVersion}`);
for (const { Id, Image, Status } of await get<Container[]>(`/v${ApiVersion}/containers/json`)) {
  console.log(`${Id.slice(0, 12)} ${Image} ${Status}`);
}
