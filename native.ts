/**
 * What Deno cannot do with Unix domain sockets, by calls of libc: the identity of a peer,
 * descriptors over a socket, sockets of every type, and reads with less latency.
 *
 * **Permissions**: `--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6`, or where libc is on this system.
 * It means full trust in this program.
 *
 * @module
 */

import "./_internal/native/plug_in.ts";

export * from "./native/allow.ts";
export * from "./native/long_path.ts";
export * from "./native/native_permissions.ts";
export * from "./native/bind_packets.ts";
export * from "./native/connect_packets.ts";
export * from "./native/descriptors.ts";
export * from "./native/listen_packets.ts";
export * from "./native/low_latency.ts";
export * from "./native/packet_socket.ts";
export * from "./native/peer_credentials.ts";
export * from "./native/socket_options.ts";
export * from "./native/peer_process.ts";
export * from "./native/socketpair.ts";
