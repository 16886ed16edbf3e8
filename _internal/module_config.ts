/**
 * The configuration of a sandboxed module: the `deno.json` that Deno would find for it.
 *
 * - Above the directories that the module may import from it belongs to whoever starts the module, and
 *   is taken as it is.
 * - Within them it may be as hostile as the module. Deno opens what it names beside itself (`importMap`,
 *   `links`, `workspace`, and what a `tsconfig.json` next to it names) with no regard to permissions, so
 *   there that has to be within them as well.
 */

import { absolutePath, directoryOf, pathOfUrl, urlOfPath } from "./absolute_path.ts";
import { isGranted } from "./grants.ts";
import { show } from "./options.ts";

/** A larger one is refused unread. */
const MAX_SIZE = 1024 * 1024;

type Key = "extends" | "importMap" | "links" | "patch" | "references" | "workspace";
type Config = Partial<Record<Key, unknown>>;

/**
 * The path of a module's configuration; only where this process may look.
 *
 * @param directory The directory of the module.
 * @param directories Those that it may import from.
 * @throws {Deno.errors.InvalidData} when it leads Deno out of them.
 */
export function findConfig(directory: string, directories: string[]): string | undefined {
  let found: string | undefined;
  for (let at = directory;; at = directoryOf(at)) {
    const file = configIn(at);
    if (file === null) return found;
    // Those further up count as well: they may be the roots of a workspace.
    if (file !== undefined && isWithin(file, directories)) checkConfig(file, directories);
    found ??= file;
    if (directoryOf(at) === at) return found;
  }
}

/** The configuration in a directory, if there is one; `null` where this process may not look. */
function configIn(directory: string): string | null | undefined {
  for (const name of ["deno.json", "deno.jsonc"]) {
    const file = absolutePath(name, directory);
    if (!isGranted("read", file)) return null;
    if (look(file) === null) continue;
    if (isFile(file)) return file;
    throw new Deno.errors.InvalidData(`its ${show(file)} is no file that can be read`);
  }
  return undefined;
}

/** Whether there is a file, also behind a symbolic link, as Deno sees it. */
function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** What is at a path, if that can be told at all. */
function look(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch {
    return null;
  }
}

function isWithin(path: string, directories: string[]): boolean {
  return directories.some((directory) =>
    path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`)
  );
}

/** Refuses a configuration within the directories that leads out of them. */
function checkConfig(file: string, directories: string[], seen = new Set<string>()): void {
  if (seen.has(file)) return;
  seen.add(file);
  const config = parse(file);
  const { importMap, links, patch, workspace } = config;
  checkTsconfig(absolutePath("tsconfig.json", directoryOf(file)), directories, seen);
  if (importMap !== undefined) requireWithin("importMap", importMap, file, directories);
  for (const [key, value] of Object.entries({ links, patch, workspace })) {
    for (const entry of entriesOf(value)) {
      for (const member of membersAt(requireWithin(key, entry, file, directories))) {
        const other = configIn(member);
        if (other === null) throw unreadable(member);
        if (other !== undefined) checkConfig(other, directories, seen);
      }
    }
  }
}

/** The same for what a configuration of TypeScript's names. */
function checkTsconfig(file: string, directories: string[], seen: Set<string>): void {
  if (seen.has(file)) return;
  seen.add(file);
  if (!isGranted("read", file)) throw unreadable(file);
  if (!isFile(file)) return;
  const { extends: base, references } = parse(file);
  for (const entry of entriesOf(base)) {
    const path = requireWithin("extends", entry, file, directories);
    if (path !== undefined) checkTsconfig(path, directories, seen);
  }
  for (const reference of entriesOf(references)) {
    const { path: entry } = (reference ?? {}) as { path?: unknown };
    const path = requireWithin("references", entry, file, directories);
    if (path !== undefined) checkTsconfig(absolutePath("tsconfig.json", path), directories, seen);
  }
}

function unreadable(path: string): Error {
  return new Deno.errors.InvalidData(
    `its configuration leads to ${show(path)}, which this process may not read, and so not check`,
  );
}

/** The entries of a list in a configuration, where workspaces have a second form. */
function entriesOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  const members = (value as { members?: unknown } | null | undefined)?.members;
  return Array.isArray(members) ? members : value === undefined ? [] : [value];
}

/** The directories that an entry stands for: `packages/*` for all in `packages`. */
function membersAt(path: string | undefined): string[] {
  if (path === undefined) return [];
  if (!path.endsWith("/*")) return [path];
  const parent = directoryOf(path);
  if (!look(parent)?.isDirectory) return [];
  return [...Deno.readDirSync(parent)].map(({ name }) => absolutePath(name, parent));
}

/** The path that an entry leads to; `undefined` for what is no file. */
function requireWithin(
  key: string,
  entry: unknown,
  file: string,
  directories: string[],
): string | undefined {
  const url = typeof entry === "string" ? URL.parse(entry, urlOfPath(file)) : null;
  if (url !== null && url.protocol !== "file:") return undefined;
  const isPattern = typeof entry === "string" && /[*?{[]/.test(entry.replace(/\/\*\/?$/, ""));
  const path = url === null || url.host !== "" || isPattern
    ? undefined
    : absolutePath(pathOfUrl(url));
  if (path !== undefined && isWithin(path, directories)) return path;
  throw new Deno.errors.InvalidData(
    `the ${show(key)} of its ${show(file)} leads out of the directories that it may import from, ` +
      `or has a pattern: ${
        show(entry)
      }. Name what lies in them, or pass more directories as "modules"`,
  );
}

/** JSON with comments and trailing commas, and nothing else of what Deno takes: rather refused than misread. */
function parse(file: string): Config {
  const { size } = Deno.statSync(file);
  if (size > MAX_SIZE) {
    throw new Deno.errors.InvalidData(`its ${show(file)} is larger than ${MAX_SIZE} bytes`);
  }
  const string = `"(?:\\\\.|[^"\\\\])*"`;
  const plain = Deno.readTextFileSync(file)
    .replace(new RegExp(`(${string})|//[^\\n]*|/\\*[^]*?\\*/`, "g"), (_, text) => text ?? " ")
    .replace(new RegExp(`(${string})|,(?=\\s*[}\\]])`, "g"), (_, text) => text ?? "");
  try {
    const config = plain.trim() === "" ? {} : JSON.parse(plain);
    if (typeof config === "object" && config !== null) return config;
    throw new TypeError(`expected an object, got ${show(config)}`);
  } catch (cause) {
    throw new Deno.errors.InvalidData(
      `its ${show(file)} cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
}
