/**
 * Uses everything at once for a while, and checks that nothing grows in any process: connections,
 * messages, restarts, children, calls, activated commands, workers, descriptors and packets.
 *
 * deno task soak [--minutes N] [--seed N]
 *
 * - The loads run in two groups, each a process that is client and server. Only the second one uses
 *   native calls.
 * - At each rest, memory, descriptors and children are counted in every process: see `size.ts`.
 * - Processes that are replaced, such as reloaded workers, do not live long enough for a line
 *   through their memory. Their descriptors and children are counted, and the same workers and
 *   commands also run without being replaced.
 * - Each byte sent must come back. At the end both sides must have the same counts.
 * - It needs Linux, which counts these in `/proc`.
 */

import { pair } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import type { Group } from "./group.ts";
import { check, denoArgs, PATIENCE_MS, type ProcessName } from "./load.ts";
import { isRunning, Track } from "./size.ts";

const [minutes, seed] = ["--minutes", "--seed"].map((name) => {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Number(Deno.args[at + 1]);
});
const duration = (minutes ?? 10) * 60_000;
if (!(duration > 0) || seed !== undefined && !Number.isInteger(seed)) {
  console.error("Usage: deno task soak [--minutes N] [--seed N]");
  Deno.exit(2);
}
/** How long, in milliseconds, the work lasts between two rests. A run has at most 120 rests. */
const interval = Math.max(1000, duration / 120);
const usedSeed = seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
console.log(`${duration / 60_000} minutes, --seed ${usedSeed}`);

// Every process collects its garbage early. Otherwise its memory would grow for minutes.
Deno.env.set("DENO_V8_FLAGS", "--gc-global,--max-semi-space-size=1");
Deno.env.set("DENO_NO_UPDATE_CHECK", "1");

await using stack = new AsyncDisposableStack();
const directory = await Deno.makeTempDir({ prefix: "uds-" });
stack.defer(() => Deno.remove(directory, { recursive: true }));

/** Starts a group of loads. */
async function start(name: string, i: number) {
  const program = denoArgs("tools/soak/group.ts", "--v8-flags=--expose-gc,--no-gc-global");
  const args = [...program, name, directory, `${usedSeed + i}`];
  const child = stack.use(await pair(Deno.execPath(), { args, grace: PATIENCE_MS }));
  const peer = rpc<Group>(child.conn);
  await peer.call("open");
  return { name, pid: child.pid, status: child.status, peer };
}
const groups = await Promise.all(["core", "native"].map(start));

/** The samples of each role. */
const tracks = new Map<string, Track>();
const pids = new Set<number>();
const begin = performance.now();

/** Counts in every process. */
async function rest(): Promise<void> {
  const all: (ProcessName & { memory?: number })[] = [];
  for (const { name, pid, peer } of groups) {
    const { memory, processes } = await peer.call("rest");
    all.push({ role: name, pid, isReplaced: false, memory }, ...processes);
  }
  const seconds = (performance.now() - begin) / 1000;
  await Promise.all(all.map(async (process) => {
    const track = tracks.get(process.role) ?? new Track(process);
    tracks.set(process.role, track);
    pids.add(process.pid);
    await track.sample(process.pid, seconds, process.memory);
  }));
}

/** Returns the resident memory of each role, and the descriptors of all, at the last rest. */
function sizes(): string {
  const last = [...tracks.values()].map(({ samples }) => samples.at(-1)!);
  const resident = last.map(({ resident }) => resident.toFixed(1).padStart(6)).join("");
  const descriptors = last.reduce((sum, { descriptors }) => sum + descriptors, 0);
  return `${resident} MiB  ${descriptors} descriptors`;
}

/** Runs courses in all groups. Returns how many have run. */
async function work(ms: number): Promise<number> {
  const counts = await Promise.all(groups.map(({ peer }) => peer.call("work", { ms })));
  return counts.reduce((a, b) => a + b);
}

await work(1000);
await rest();
console.log(`processes: ${[...tracks.keys()].join(", ")}`);
for (let left; (left = begin + duration - performance.now()) > 0;) {
  const courses = await work(Math.min(interval, left));
  await rest();
  const seconds = ((performance.now() - begin) / 1000).toFixed(0).padStart(5);
  console.log(`${seconds} s  ${String(courses).padStart(9)} courses ${sizes()}`);
}
for (const { name, status, peer } of groups) {
  console.log(`${name}: ${JSON.stringify(await peer.call("end"))}`);
  peer.close();
  check((await status).success, `${name} has failed`);
}
for (const track of tracks.values()) console.log(track.summary());
const left = [...Deno.readDirSync(directory)].map(({ name }) => name);
check(left.length === 0, `left behind: ${left.join(", ")}`);
const running = [...pids].filter(isRunning);
check(running.length === 0, `processes are left behind: ${running.join(", ")}`);
const faults = [...tracks.values()].flatMap((track) => track.faults());
check(faults.length === 0, faults.join("\n"));
console.log("nothing grows, and both sides have the same counts");
