/**
 * A privileged process opens a file, and passes it to a child that may not open it.
 *
 * Terminal 1: sudo deno run --allow-ffi=/lib/x86_64-linux-gnu/libc.so.6
 * --allow-run=setpriv --allow-env --allow-read=/etc/shadow examples/open_file.ts /etc/shadow
 */

import { pair } from "@uds/uds";
import { sendDescriptors } from "@uds/uds/native";
import { closeSync, openSync } from "node:fs";

const NOBODY = "65534";
const CHILD = `
import os, socket
parent = socket.socket(fileno=3)
name, fds, _, _ = socket.recv_fds(parent, 4096, 1)
try: open(name)
except PermissionError: print("user", os.getuid(), "may not open", name.decode())
print("it was passed", len(os.read(fds[0], 1 << 20)), "bytes of it")
`;

const path = Deno.args[0] ?? "/etc/shadow";
const args = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
args.push("/usr/bin/python3", "-c", CHILD);
await using child = await pair("setpriv", { args, descriptors: true });

// A Deno.FsFile does not show its descriptor.
const fd = openSync(path, "r");
await sendDescriptors(child.conn, new TextEncoder().encode(path), [fd]);
closeSync(fd);
await child.status;
