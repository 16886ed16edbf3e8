/**
 * The command line, `uds`: `activate`, `bench`, `call`, `completion`, `connect`, `echo`, `listen`,
 * `ls`, `man`, `permissions`, `probe`, `relay`, `replay`, `rm`, `run`, `send`, `serve`, `tap`.
 *
 * - Data goes to standard output, everything else to standard error. With `--json` both are JSON.
 *   With `--quiet` only results and errors are printed.
 * - The exit code shows what failed: `uds --help` lists the codes.
 *
 * **Permissions**: those of the command; `uds permissions COMMAND …` prints them. If one is
 * missing, the error names the flag to add. `uds` never prompts.
 *
 * @example Serve an echo, and send it a message from another terminal
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
