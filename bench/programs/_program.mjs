/** Shared code of the programs for Node: arguments, passes, report. */

import net from "node:net";

const [role, variant, path, ...numbers] = process.argv.slice(2);
const [size, warm, count] = numbers.map(Number);

/** The task of this program. */
export const TASK = { role, variant, path, size, warm, count };

/** The items of the warm-up pass and of the timed pass. */
export const PASSES = [warm, count];

/** The counts of this end, over both passes. */
export const counted = { items: 0, bytes: 0 };

/**
 * Runs both passes, and returns the seconds of the second one.
 *
 * @param {(items: number) => Promise<void>} pass
 */
export async function timed(pass) {
  let seconds = 0;
  for (const items of PASSES) {
    const begin = performance.now();
    await pass(items);
    seconds = (performance.now() - begin) / 1000;
  }
  return seconds;
}

/** Prints the report. This is a program's last call. */
export function report(more = {}) {
  console.log(JSON.stringify({ ...counted, ...more }));
}

/**
 * Serves one connection per pass, and resolves when they have ended.
 *
 * @param {(socket: net.Socket, items: number) => void} handler
 * @returns {Promise<void>}
 */
export function listen(handler) {
  return new Promise((resolve) => {
    let served = 0;
    let ended = 0;
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      handler(socket, PASSES[served++]);
      socket.on("close", () => {
        if (++ended < PASSES.length) return;
        server.close();
        resolve();
      });
    });
    server.listen(path, () => console.log("ready"));
  });
}

/** @returns {Promise<net.Socket>} */
export function connect() {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path, allowHalfOpen: true }, () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Resolves at the end of file, after everything was read. */
export function ended(socket) {
  return new Promise((resolve) => {
    socket.resume();
    socket.on("end", resolve);
  });
}

/** Writes `count` chunks, as fast as the socket takes them. */
export function writeMany(socket, count, chunk) {
  return new Promise((resolve) => {
    let sent = 0;
    const more = () => {
      while (sent < count) {
        sent++;
        if (!socket.write(chunk(sent))) return void socket.once("drain", more);
      }
      resolve();
    };
    more();
  });
}
