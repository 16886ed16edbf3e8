/**
 * The command line: `uds echo PATH`, `uds send PATH MESSAGE`.
 *
 * Data goes to standard output, talk to standard error; the exit code tells what went wrong.
 *
 * **Permissions**: those of the command, as `permissions()` gives them for its path. A missing one is
 * named, with the flag to add; nothing prompts.
 *
 * @example Serve an echo, and talk to it from another terminal
 * ```sh
 * deno run -RWN jsr:@uds/uds/cli echo /tmp/echo.sock
 * deno run -RWN jsr:@uds/uds/cli send /tmp/echo.sock hello
 * ```
 *
 * @module
 */

import { main } from "./_cli/main.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
