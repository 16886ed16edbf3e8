/** Helpers that the tests of `claim` share. */

import { claim, type ClaimOptions, listen, permissions, serve } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { dirname } from "@std/path/posix";
import { fixture } from "../_helpers.ts";

export type OwnOptions = ClaimOptions;

/**
 * The ways to own a path. Each resolves to an owner that has bound it, and releases it when
 * disposed of.
 */
export const OWNERS: Record<
  string,
  (path: string, options?: OwnOptions) => Promise<AsyncDisposable>
> = {
  "claim()": async (path, options) => {
    const owned = await claim(path, options);
    const stack = new AsyncDisposableStack();
    stack.use(owned);
    try {
      stack.use(await owned.bind(() => Deno.listen({ transport: "unix", path })));
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
    return stack;
  },
  "listen()": (path, options) => listen({ path, ...options }),
  "serve()": (path, options) => serve({ path, ...options }, async () => {}),
};

/** Returns what can be seen of a file without changing it. */
export function look(path: string): Record<string, unknown> {
  const info = Deno.lstatSync(path);
  const { dev, ino, mode, uid, size } = info;
  let content;
  if (info.isFile) content = Deno.readTextFileSync(path);
  if (info.isSymlink) content = Deno.readLinkSync(path);
  if (info.isDirectory) content = [...Deno.readDirSync(path)].map(({ name }) => name);
  return { dev, ino, mode, uid, size, mtime: info.mtime?.getTime(), content };
}

export interface Refusal {
  // deno-lint-ignore no-explicit-any
  is: new (...args: any[]) => Error;
  says: string;
  operation: string;
  path: string;
  code: string;
}

/** Asserts that a call rejects with one of the package's errors, with all of its fields. */
export async function assertRefused<E extends Error = Error>(
  work: () => Promise<unknown>,
  { is, says, ...fields }: Refusal,
): Promise<E> {
  const error = await assertRejects(work, is, says);
  const { operation, path, code } = error as unknown as Record<string, unknown>;
  assertEquals({ operation, path, code }, fields);
  assertEquals(error.name, is.name);
  return error as E;
}

/** Returns the operation in the errors of a function: `listen` for `"listen()"`. */
export const operationOf = (name: string): string => name.slice(0, -2);

export const modeOf = (path: string): number => (Deno.lstatSync(path).mode ?? 0) & 0o7777;

/** Returns exactly the flags that a program needs to own a path. */
export const ownerFlags = (path: string): string[] => [
  `--allow-read=${path},${path}.lock`,
  `--allow-write=${path},${path}.lock`,
  `--allow-net=unix:${path}`,
];

/**
 * Files that another program may put in the place of our socket. Each returns a function that
 * removes it.
 */
export const REPLACEMENTS: Record<string, (path: string) => () => void> = {
  "a regular file": (path) => {
    Deno.writeTextFileSync(path, "precious");
    return () => {};
  },
  "a live socket": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    return () => {
      // Clients still reach this socket.
      assertEquals(Deno.lstatSync(path).isSocket, true);
      listener.close();
    };
  },
  "a directory": (path) => {
    Deno.mkdirSync(path);
    return () => {};
  },
  "a symbolic link": (path) => {
    Deno.symlinkSync("elsewhere", path);
    return () => {};
  },
};

/** Runs a fixture that drops root, and then owns or connects to the path. */
export async function asNobody(
  how: string,
  path: string,
  verify = "",
): Promise<Record<string, unknown>> {
  const directory = dirname(path);
  const { read } = permissions("claim", path, { verifyDirectory: verify === "verify" });
  await using program = fixture(
    "claim_as_nobody.ts",
    [
      `--allow-read=${[directory, ...read as string[]].join()}`,
      `--allow-write=${directory}`,
      `--allow-net=unix:${path}`,
      // No narrower flag allows a program to become another user.
      "--allow-sys",
    ],
    [how, path, verify],
  );
  return JSON.parse(await program.line());
}
