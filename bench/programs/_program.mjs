/** What the programs for Node share: their arguments, the passes, the report. */

import net from "node:net";

const [role, variant, path, ...numbers] = process.argv.slice(2);
const [size, warm, count] = numbers.map(Number);

/** What the program was started to do. */
export const TASK = { role, variant, path, size, warm, count };

/** The items of the warm-up, then those that are timed. */
export const PASSES = [warm, count];

/** What this end has counted, of both passes. */
export const counted = { items: 0, bytes: 0 };

/**
 * Runs both passes, and times the second one; gives its seconds.
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

/** Prints the report, the last that a program does. */
export function report(more = {}) {
  console.log(JSON.stringify({ ...counted, ...more }));
}

/**
 * Serves the connection of each pass, and resolves when they have ended.
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

/** Resolves when the peer has ended and everything was read. */
export function ended(socket) {
  return new Promise((resolve) => {
    socket.resume();
    socket.on("end", resolve);
  });
}

/** Writes so many chunks, as fast as the socket takes them. */
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
