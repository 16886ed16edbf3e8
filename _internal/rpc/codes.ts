/** The codes of JSON-RPC errors. */

/**
 * The codes of {@linkcode RpcError} that have a meaning: those of JSON-RPC 2.0, and those with
 * which this package refuses a request. Choose your own codes above -32000.
 *
 * @category Calls
 */
export const RPC_CODES = {
  /** The message is not JSON. */
  PARSE_ERROR: -32700,
  /** The message is JSON, but not a request. */
  INVALID_REQUEST: -32600,
  /** The peer does not have the method. */
  METHOD_NOT_FOUND: -32601,
  /** The method does not accept the parameters. */
  INVALID_PARAMS: -32602,
  /** The method has failed. */
  INTERNAL_ERROR: -32603,
  /** The peer shuts down, and has not run the method: call again, on another connection. */
  DRAINING: -32001,
  /** Too many requests wait at the peer, and it has not run the method: call again later. */
  BUSY: -32002,
  /** The method has ended because the call was canceled. */
  CANCELED: -32800,
} as const;
