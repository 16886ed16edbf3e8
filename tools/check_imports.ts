/**
 * Checks that imports go down only, those of types as well.
 *
 * - `FLOORS` lists the rooms from the lowest floor up. A file may import from its own room and from
 *   rooms on lower floors. Two rooms on one floor do not import each other.
 * - In `_cli` the commands read the parsed arguments, and print through `io`. The table names every
 *   command. Only `main.ts` reads it, and passes it to the two commands that need it.
 * - No file imports itself, directly or through others.
 */

import { dirname, join } from "@std/path/posix";
import { projectFiles } from "./source_text.ts";

/** A room: the folder or the file at the beginning of its paths. */
type Room = string;

const FLOORS: readonly (readonly Room[])[] = [
  ["_internal/base/thrown.ts"],
  ["errors.ts"],
  ["_internal/base/"],
  ["address.ts"],
  ["permissions.ts", "runtime_path.ts", "native/packet_socket.ts"],
  ["_internal/lock/", "_internal/libc/"],
  ["_internal/path/"],
  ["_internal/connection/"],
  ["connection.ts"],
  ["framing/codec.ts"],
  ["_internal/descriptor/"],
  ["_internal/accept/"],
  ["_internal/server/", "_internal/messages/", "_internal/child/", "_internal/systemd/"],
  ["_internal/sandbox/"],
  ["framing/", "probe.ts", "claim.ts"],
  ["_internal/rpc/"],
  ["listener.ts", "child.ts", "socketpair.ts"],
  [
    "framing.ts",
    "client.ts",
    "server.ts",
    "pair.ts",
    "relay.ts",
    "shutdown_on_signal.ts",
  ],
  ["rpc/", "_internal/pool/"],
  ["_internal/workers/"],
  ["rpc.ts", "pool.ts", "systemd.ts", "workers.ts"],
  ["_internal/native/"],
  ["native/"],
  ["native.ts"],
  ["mod.ts"],
  ["_cli/exit_codes.ts"],
  ["_cli/text/"],
  ["_cli/parse/"],
  ["_cli/io/"],
  ["_cli/packets/"],
  ["_cli/commands/"],
  ["_cli/table/"],
  ["_cli/table.ts"],
  ["_cli/main.ts"],
  ["cli.ts"],
];

interface Import {
  from: string;
  to: string;
}

const floorOf = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));

function roomOf(file: string): Room | undefined {
  return [...floorOf.keys()].find((room) => file === room || file.startsWith(room));
}

/** All files of the library and the command line. */
const FILES = projectFiles([".ts"]).filter((file) =>
  !file.includes("/") || /^(?:_internal|_cli|framing|native|rpc)\//.test(file)
);

const STATEMENT =
  /^(?:import|export)\b[^;"]*?\bfrom "(?<static>\.[^"]+)"|\bimport\("(?<dynamic>\.[^"]+)"\)/gm;

function importsOf(file: string): Import[] {
  const text = Deno.readTextFileSync(file).replace(/^\s*(?:\*|\/\/).*$/gm, "");
  return [...text.matchAll(STATEMENT)].map(({ groups = {} }) => ({
    from: file,
    to: join(dirname(file), (groups["static"] ?? groups["dynamic"]) as string),
  }));
}

/** Returns why an import is not allowed, or `undefined` if it is. */
function problemOf({ from, to }: Import): string | undefined {
  const [room, other] = [roomOf(from), roomOf(to)];
  if (room === undefined) return `${from} is in no room of tools/check_imports.ts`;
  if (other === undefined) return `${from} imports ${to}, which is in no room`;
  if (room === other || (floorOf.get(other) as number) < (floorOf.get(room) as number)) {
    return undefined;
  }
  return `${from} imports ${to}, which is not on a lower floor`;
}

/** Returns a path from a file back to itself, if there is one. */
function findCircle(imports: Import[]): string[] | undefined {
  const below = Map.groupBy(imports, ({ from }) => from);
  const done = new Set<string>();
  function visit(file: string, way: string[]): string[] | undefined {
    const place = way.indexOf(file);
    if (place >= 0) return [...way.slice(place), file];
    if (done.has(file)) return undefined;
    for (const { to } of below.get(file) ?? []) {
      const circle = visit(to, [...way, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  }
  for (const file of below.keys()) {
    const circle = visit(file, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

const imports = FILES.flatMap(importsOf);
const problems = imports.map(problemOf).filter((problem) => problem !== undefined);
const circle = findCircle(imports);
if (circle !== undefined) problems.push(`a circle: ${circle.join(" -> ")}`);
for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) Deno.exit(1);
console.log(`${imports.length} imports go down, and none leads back`);
