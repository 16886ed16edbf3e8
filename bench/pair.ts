/**
 * What a pair costs: start to first byte, round trip and bulk, against node:child_process with an extra
 * pipe as most people would write it (`node:net` events at both ends).
 *
 * deno run -A bench/pair.ts [--quick]
 *
 * Rounds of all subjects are interleaved, so that a noisy machine hits everyone alike; what counts is
 * the ratio of the medians.
 */

import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fromFileUrl } from "@std/path/posix";
import { pair } from "@uds/uds";

const QUICK = Deno.args.includes("--quick");
const ROUNDS = QUICK ? 5 : 11;
const TRIPS = QUICK ? 2000 : 5000;
const BULK = (QUICK ? 256 : 1024) * 1024 * 1024;
const CHUNK = 256 * 1024;

/** The two ends of a parent, whichever it is made of. */
interface Parent {
  /** Sends 64 bytes and waits for them to come back. */
  trip(): Promise<void>;
  /** Reads until the end, and gives the number of bytes. */
  drain(): Promise<number>;
  /** Sends so many bytes and the end, and gives the number that the child says it has received. */
  fill(total: number): Promise<number>;
  end(): Promise<void>;
}

function args(child: string, what: string, total: number): string[] {
  const file = fromFileUrl(new URL(`./children/${child}.ts`, import.meta.url));
  const config = fromFileUrl(new URL("../deno.json", import.meta.url));
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--deny-env",
    "--config",
    config,
    file,
    what,
    `${total}`,
  ];
}

async function ours(child: string, what: string, total = 0): Promise<Parent> {
  const { conn, status } = await pair(Deno.execPath(), { args: args(child, what, total) });
  const message = new Uint8Array(64);
  const buffer = new Uint8Array(CHUNK);
  return {
    async trip() {
      await conn.write(message);
      for (let got = 0; got < 64;) got += await conn.read(buffer) ?? 64;
    },
    async drain() {
      let got = 0;
      for (let count; (count = await conn.read(buffer)) !== null;) got += count;
      return got;
    },
    async fill(total) {
      for (let sent = 0; sent < total; sent += CHUNK) await conn.write(buffer);
      await conn.closeWrite();
      const count = await conn.read(buffer);
      return Number(new TextDecoder().decode(buffer.subarray(0, count ?? 0)));
    },
    async end() {
      conn.close();
      await status;
    },
  };
}

function raw(child: string, what: string, total = 0): Parent {
  const process = spawn(Deno.execPath(), args(child, what, total), {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const socket = (process.stdio as unknown as Socket[])[3] as Socket;
  socket.allowHalfOpen = true;
  const exited = new Promise((resolve) => process.on("exit", resolve));
  const message = new Uint8Array(64);
  return {
    trip() {
      return new Promise((resolve) => {
        let got = 0;
        const onData = (chunk: Uint8Array) => {
          got += chunk.length;
          if (got < 64) return;
          socket.off("data", onData);
          resolve();
        };
        socket.on("data", onData);
        socket.write(message);
      });
    },
    drain() {
      return new Promise((resolve) => {
        let got = 0;
        socket.on("data", (chunk: Uint8Array) => got += chunk.length);
        socket.on("end", () => resolve(got));
      });
    },
    fill(total) {
      return new Promise((resolve) => {
        const buffer = new Uint8Array(CHUNK);
        let sent = 0;
        const more = () => {
          while (sent < total) {
            sent += CHUNK;
            if (!socket.write(buffer)) return;
          }
          socket.end();
        };
        socket.on("data", (chunk: Uint8Array) => resolve(Number(new TextDecoder().decode(chunk))));
        socket.on("drain", more);
        more();
      });
    },
    async end() {
      socket.destroy();
      await exited;
    },
  };
}

type Side = "ours" | "raw";
const open = (side: Side, what: string, total?: number): Promise<Parent> =>
  Promise.resolve(side === "ours" ? ours("ours", what, total) : raw("raw", what, total));

/** Milliseconds from the start of the child to its first answer. */
async function start(side: Side): Promise<number> {
  const begin = performance.now();
  const parent = await open(side, "echo");
  await parent.trip();
  const elapsed = performance.now() - begin;
  await parent.end();
  return elapsed;
}

/** Microseconds of a round trip of 64 bytes. */
async function trips(side: Side): Promise<number> {
  const parent = await open(side, "echo");
  for (let i = 0; i < 500; i++) await parent.trip();
  const begin = performance.now();
  for (let i = 0; i < TRIPS; i++) await parent.trip();
  const elapsed = performance.now() - begin;
  await parent.end();
  return 1000 * elapsed / TRIPS;
}

/** GB/s from the child to its parent, or the other way. */
async function bulk(side: Side, way: "down" | "up"): Promise<number> {
  const parent = await open(side, way === "down" ? "send" : "receive", BULK);
  const begin = performance.now();
  const bytes = way === "down" ? await parent.drain() : await parent.fill(BULK);
  const elapsed = performance.now() - begin;
  if (bytes !== BULK) throw new Error(`${bytes} of ${BULK} bytes`);
  await parent.end();
  return BULK / elapsed / 1e6;
}

const SUBJECTS: [name: string, unit: string, less: boolean, run: (s: Side) => Promise<number>][] = [
  ["start to first byte", "ms", true, start],
  ["round trip, 64 B", "µs", true, trips],
  ["bulk, child to parent", "GB/s", false, (side) => bulk(side, "down")],
  ["bulk, parent to child", "GB/s", false, (side) => bulk(side, "up")],
];

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number;

console.log("| subject | ours / raw | ours | raw | unit |");
console.log("| --- | --- | --- | --- | --- |");
for (const [name, unit, less, run] of SUBJECTS) {
  const values: Record<Side, number[]> = { ours: [], raw: [] };
  for (let round = 0; round < ROUNDS; round++) {
    // Who goes first changes, so that neither has the warmer machine.
    const sides: Side[] = round % 2 === 0 ? ["ours", "raw"] : ["raw", "ours"];
    for (const side of sides) values[side].push(await run(side));
  }
  const [a, b] = [median(values.ours), median(values.raw)];
  const ratio = less ? b / a : a / b;
  const shown = [ratio.toFixed(2), a.toFixed(2), b.toFixed(2)].join(" | ");
  console.log(`| ${name} | ${shown} | ${unit}, ${less ? "less" : "more"} is better |`);
}
