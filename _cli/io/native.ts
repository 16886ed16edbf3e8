/** The native functions that identify clients. They are loaded for this only. */

import "../../_internal/native/plug_in.ts";

export { allow } from "../../native/allow.ts";
export { nativePermissions } from "../../native/native_permissions.ts";
export { peerCredentials } from "../../native/peer_credentials.ts";
