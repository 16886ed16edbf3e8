/** Helpers that the tests of `permissions` share. */

import { connect, permissions, type PermissionsOptions, serve } from "@uds/uds";
import { assertEquals, assertMatch } from "@std/assert";
import { decode, denoArgs, encode, Program, readAll } from "../_helpers.ts";
import type { Use } from "../fixtures/permission_use.ts";

/** The kinds of permission that an operation on a socket may need, with the scope of each. */
export type Scoped = Record<string, string[]>;

/** A use of a socket, and the permissions that it needs for the path `P`. */
export interface Row {
  name: string;
  operation: Exclude<Use["operation"], "Deno.connect">;
  /** The options of `permissions()` and of the operation. */
  options?: PermissionsOptions;
  /** The path, if not `P`. */
  at?: string;
  needs: (path: string) => Scoped;
}

export const beside = (path: string): string => path.slice(0, path.lastIndexOf("/"));

/** Returns the directories of a path, the nearest first, without the root. */
export function directoriesOf(path: string): string[] {
  const directory = beside(path);
  return directory === "" ? [] : [directory, ...directoriesOf(directory)];
}

/** Returns the permissions that every owner of a path needs. */
export const owning = (path: string): Scoped => ({
  read: [path, `${path}.lock`],
  write: [path, `${path}.lock`],
  net: [`unix:${path}`],
});

/** Returns the permissions of an owner that publishes its path by rename. */
const publishing = (path: string) => ({
  read: [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`],
  write: [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`],
  net: [`unix:${path}`, `unix:${path}.new`],
});

export const ROWS: Row[] = [
  { name: "serve()", operation: "serve", needs: owning },
  { name: "listen()", operation: "listen", needs: owning },
  { name: "claim() and bind()", operation: "claim", needs: owning },
  {
    name: 'serve({ publish: "rename" })',
    operation: "serve",
    options: { publish: "rename" },
    needs: publishing,
  },
  {
    name: 'claim({ publish: "rename" }) and bind()',
    operation: "claim",
    options: { publish: "rename" },
    needs: (path) => {
      const { read, write, net } = publishing(path);
      const old = `${path}.old`;
      return { read: [...read, old], write: [...write, old], net: [...net, `unix:${old}`] };
    },
  },
  {
    name: "serve({ createDirectory: true })",
    operation: "serve",
    options: { createDirectory: true },
    at: "a/b/s.sock",
    needs: (path) => ({
      read: [path, `${path}.lock`],
      write: [path, `${path}.lock`, beside(path)],
      net: [`unix:${path}`],
    }),
  },
  {
    name: "serve({ verifyDirectory: true })",
    operation: "serve",
    options: { verifyDirectory: true },
    needs: (path) => ({
      read: [path, `${path}.lock`, ...directoriesOf(path)],
      write: [path, `${path}.lock`],
      net: [`unix:${path}`],
    }),
  },
  {
    name: "connect()",
    operation: "connect",
    needs: (path) => ({ read: [path], write: [path], net: [`unix:${path}`] }),
  },
  {
    name: "probe()",
    operation: "probe",
    needs: (path) => ({ read: [path, `${path}.lock`], write: [path], net: [`unix:${path}`] }),
  },
  {
    name: "probe({ connect: false })",
    operation: "probe",
    options: { connect: false },
    needs: (path) => ({ read: [path, `${path}.lock`] }),
  },
];

/** Returns the `permissions()` of a row. */
export function permissionsOf(
  { operation, options }: Row,
  path: string,
): Deno.PermissionOptionsObject {
  return permissions(operation === "listen" ? "serve" : operation, path, options);
}

/**
 * Starts a program that uses a socket, under a umask that leaves the write bits right. Under
 * another one, it would also need read permission for its directory.
 */
export function user(use: Use, flags: string[], env: Record<string, string> = {}): Program {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)]);
  const umask = use.operation === "claim" ? "077" : "022";
  const command = `umask ${umask}; exec "$0" "$@"`;
  return new Program("sh", ["-c", command, Deno.execPath(), ...args], { env });
}

/** Starts a server that greets, for a program that connects. */
export function greeter(path: string): Promise<AsyncDisposable> {
  return serve(path, async (conn) => {
    await conn.write(encode("hello"));
  });
}

/** Plays the other side of the program, until it prints that it is done. */
export async function play(program: Program, { operation, path, options }: Use): Promise<void> {
  if (operation === "connect") {
    assertEquals(await program.line(), "hello");
  } else if (operation === "probe") {
    const { state } = JSON.parse(await program.line());
    const abstract = path.startsWith("\0");
    assertEquals(state, abstract ? "free" : options?.connect === false ? "claimed" : "stale");
  } else {
    const ready = await program.line();
    assertEquals(ready, "ready");
    await using conn = await connect(path);
    assertEquals(decode(await readAll(conn)), "hello");
  }
  assertEquals(await program.line(), "done");
}

export const KINDS: string[] = ["env", "ffi", "import", "net", "read", "run", "sys", "write"];

/** Asserts that an error refuses an operation, and asks for exactly these flags. */
export function assertAsksFor(
  error: Record<string, string>,
  { operation, path }: Use,
  flags: string,
): void {
  assertEquals([error.class, error.operation, error.path], ["NotCapable", operation, path]);
  assertMatch(error.message ?? "", /^Cannot [a-z ]+ "/);
  const [, asked] = (error.message ?? "").split(": a Deno permission is missing. Run again with ");
  assertEquals(asked, flags);
}

/**
 * Returns each single permission of a row: its kind, its place from the end of the list, and its
 * scope.
 */
export function singles(row: Row): [kind: string, index: number, entry: string][] {
  return Object.entries(row.needs("/T/D/P")).flatMap(([kind, entries]) =>
    entries.map((entry, i): [string, number, string] => [kind, i - entries.length, entry])
      // A permission for a directory includes its files, so leaving those out removes nothing.
      .filter(([, , entry]) => !directoriesOf(entry).some((above) => entries.includes(above)))
  );
}
