/** Calls of a method and their answers: many in flight, and one. */

import { microseconds, type Subject, thousandsPerSecond } from "../subject.ts";

const UDS = { name: "uds rpc", program: "calls/uds.ts" };

const pipelined: Subject = {
  name: "calls",
  title: "Calls with 64 B, 500 in flight",
  unit: "thousand/s",
  better: "more",
  size: 64,
  contenders: [
    { ...UDS, variant: "many", count: 200_000 },
    { name: "birpc", program: "calls/birpc.ts", variant: "many", count: 50_000 },
    { name: "capnweb", program: "calls/capnweb.ts", variant: "many", count: 50_000 },
    { name: "vscode-jsonrpc", program: "calls/vscode.ts", variant: "many", count: 50_000 },
  ],
  lines: [
    { ours: "uds rpc", baseline: "birpc", atLeast: 3 },
    { ours: "uds rpc", baseline: "capnweb", atLeast: 3 },
    { ours: "uds rpc", baseline: "vscode-jsonrpc", atLeast: 3 },
  ],
  value: thousandsPerSecond,
};

const one: Subject = {
  name: "call",
  title: "A call with 64 B, one in flight",
  unit: "µs",
  better: "less",
  size: 64,
  contenders: [
    { ...UDS, variant: "one", count: 20_000 },
    { name: "uds messages", program: "calls/messages.ts", variant: "one", count: 20_000 },
    { name: "birpc", program: "calls/birpc.ts", variant: "one", count: 20_000 },
    { name: "capnweb", program: "calls/capnweb.ts", variant: "one", count: 20_000 },
    { name: "vscode-jsonrpc", program: "calls/vscode.ts", variant: "one", count: 20_000 },
  ],
  lines: [
    { ours: "uds rpc", baseline: "uds messages", atMost: 1.3 },
    { ours: "uds rpc", baseline: "birpc" },
    { ours: "uds rpc", baseline: "capnweb" },
    { ours: "uds rpc", baseline: "vscode-jsonrpc" },
  ],
  value: microseconds,
};

/** Both subjects. */
export const calls: readonly Subject[] = [pipelined, one];
