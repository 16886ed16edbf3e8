/**
 * The command line, `uds`: `bench`, `completion`, `connect`, `echo`, `listen`, `ls`, `permissions`, `probe`,
 * `relay`, `rm`, `run`, `send`, `serve`, `tap`.
 *
 * - Data goes to standard output, everything else to standard error. `--json` makes both for machines,
 *   `--quiet` leaves out what is neither a result nor an error.
 * - The exit code says what went wrong: `uds --help` lists the codes.
 *
 * **Permissions**: those of the command, as `uds permissions COMMAND …` prints them. A missing one is
 * named, with the flag to add; nothing prompts.
 *
 * @example Serve an echo, and talk to it from another terminal
 * ```sh
 * deno run -RWN jsr:@uds/uds/cli echo /tmp/echo.sock
 * deno run -RWN jsr:@uds/uds/cli send /tmp/echo.sock hello
 * ```
 *
 * @example Install it as `uds`
 * ```sh
 * deno install --global -RWN --allow-run --allow-env --allow-sys=uid --name uds jsr:@uds/uds/cli
 * ```
 *
 * @module
 */

import { main } from "./_cli/main.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
