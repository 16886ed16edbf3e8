/** Errors with the code of a failed system call, in the classes of Deno's own API. */

type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

const CLASSES: Record<string, ErrorClass> = {
  EACCES: Deno.errors.PermissionDenied,
  EADDRINUSE: Deno.errors.AddrInUse,
  EAGAIN: Deno.errors.WouldBlock,
  EBADF: Deno.errors.BadResource,
  ECONNREFUSED: Deno.errors.ConnectionRefused,
  ECONNRESET: Deno.errors.ConnectionReset,
  EEXIST: Deno.errors.AlreadyExists,
  EINTR: Deno.errors.Interrupted,
  ENOENT: Deno.errors.NotFound,
  ENOTCONN: Deno.errors.NotConnected,
  ENOTDIR: Deno.errors.NotADirectory,
  EOPNOTSUPP: Deno.errors.NotSupported,
  EPERM: Deno.errors.PermissionDenied,
  EPIPE: Deno.errors.BrokenPipe,
  EPROTONOSUPPORT: Deno.errors.NotSupported,
  ESOCKTNOSUPPORT: Deno.errors.NotSupported,
  ETIMEDOUT: Deno.errors.TimedOut,
};

/** Returns an error with a code, of the class that Deno has for it. */
export function errorOfCode(code: string, message: string, options?: ErrorOptions): Error {
  return Object.assign(new (CLASSES[code] ?? Error)(message, options), { code });
}
