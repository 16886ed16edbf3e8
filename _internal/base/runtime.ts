/** The systems that this package supports: Deno 2.9.5 or later, with Unix domain sockets. */

/** Before 2.9.5 a closed connection could leave a pending write hanging (denoland/deno#36369). */
const MINIMUM = [2, 9, 5] as const;

/** The version that was found to be supported: each connection asks. */
let supported: string | undefined;

/**
 * Throws unless this system and this version of Deno are supported. Called when a socket is used,
 * not at import: a program may import the package and not use it.
 *
 * @param os The system, as in `Deno.build.os`.
 * @param version The version of Deno.
 */
export function requireRuntime(
  os: string = Deno.build.os,
  version: string = Deno.version.deno,
): void {
  if (os === "windows") {
    throw new Deno.errors.NotSupported(
      "Deno has no Unix domain sockets on Windows. Use Linux, macOS or WSL",
    );
  }
  if (version === supported) return;
  const found = version.split(/[.+-]/).map(Number);
  for (const [i, least] of MINIMUM.entries()) {
    const number = found[i] ?? 0;
    if (number > least) break;
    if (number < least) {
      throw new Deno.errors.NotSupported(
        `@uds/uds needs Deno ${MINIMUM.join(".")} or later, and this is ${version}: earlier ones ` +
          `lose or hang writes of a closed connection. Run deno upgrade`,
      );
    }
  }
  supported = version;
}
