/** The address of a socket: what is a valid path or abstract name. */

import { show, showPath } from "./check.ts";
import { isGranted } from "./deno_permissions.ts";
import { ErrorContext } from "./error_context.ts";
import { absolutePath, directoryOf, pathOfUrl } from "./path.ts";
import { quoteAddress } from "./shown_address.ts";

/**
 * `sun_path` has 108 bytes on Linux and 104 on macOS and the BSDs, one of them for the final NUL.
 */
const MAX_PATH_BYTES = Deno.build.os === "linux" || Deno.build.os === "android" ? 107 : 103;

/** The valid address that was checked last: most programs connect to one, again and again. */
let checked: string | undefined;

/**
 * Checks the address of a socket, and makes a path absolute.
 *
 * @param path A path, an abstract name, or a `file:` URL.
 */
export function absoluteSocketPath(path: string | URL): string {
  const text = path instanceof URL ? textOfUrl(path) : path;
  if (typeof text !== "string") {
    throw new TypeError(`Invalid socket path: expected a string or a file: URL, got ${show(text)}`);
  }
  if (text === checked) return text;
  if (text === "") {
    throw new TypeError(
      "Invalid socket path: it is empty. Pass the path of a file, such as /run/app.sock",
    );
  }
  if (!text.isWellFormed()) {
    throw invalid(text, "it contains a lone surrogate, which UTF-8 cannot hold");
  }
  if (/^(file:|unix:|[a-z][a-z0-9+.-]*:\/\/)/i.test(text)) {
    throw invalid(text, "it is a URL in a string. Pass a path, or new URL(…) of a file: URL");
  }
  const isAbstract = text.startsWith("\0");
  if (isAbstract && Deno.build.os !== "linux" && Deno.build.os !== "android") {
    throw invalid(text, "abstract names exist on Linux only. Pass a path");
  }
  if (text === "\0") throw invalid(text, "the abstract name is empty");
  const absolute = isAbstract ? text : absoluteFile(text);
  checkPathLength(absolute);
  // Others depend on the working directory, or on symbolic links.
  if (absolute === text) checked = text;
  return absolute;
}

function invalid(path: string, state: string): TypeError {
  const shown = path.startsWith("\0") ? quoteAddress(path) : showPath(path);
  return new TypeError(`Invalid socket path ${shown}: ${state}`);
}

/** Returns the path of a `file:` URL. */
function textOfUrl(url: URL): string {
  const { protocol, host, search, hash, href } = url;
  if (protocol !== "file:") throw invalid(href, "expected a file: URL");
  if (host + search + hash !== "") {
    throw invalid(
      href,
      `a file: URL with a host, a query or a hash names no socket. Escape "?" and "#" in a path ` +
        `as %3F and %23`,
    );
  }
  try {
    return pathOfUrl(url);
  } catch {
    throw invalid(href, "its percent escapes are not those of UTF-8");
  }
}

function absoluteFile(path: string): string {
  if (path.includes("\0")) {
    throw invalid(
      path,
      "it contains a NUL. Only an abstract name has one, as its first character",
    );
  }
  if (path.endsWith("/")) throw invalid(path, `it ends with "/". Name a file in that directory`);
  try {
    requireOneMeaning(path);
    return absolutePath(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const state = "it is relative, and the working directory does not exist any more";
    throw new ErrorContext("resolve", path).fail(error, state);
  }
}

/** Throws if the system and Deno's permissions would take the path for different files. */
function requireOneMeaning(path: string): void {
  const found = ambiguityOf(path);
  if (found === undefined) return;
  const [link, parent, lexical] = [found.link, found.parent, found.lexical].map(show);
  throw invalid(
    path,
    `${link} is a symbolic link, and behind it ".." leads to ${parent} for the system and to ` +
      `${lexical} for Deno's permissions. Write the path without ".."`,
  );
}

/**
 * Returns the path; throws `RangeError` if it has too many bytes.
 *
 * @param path An absolute path, or an abstract name.
 * @param remedy What helps, for the error.
 */
export function checkPathLength(
  path: string,
  remedy: string = "Choose a shorter directory, such as $XDG_RUNTIME_DIR",
): string {
  // An abstract name has no final NUL, but a first one: the limit is the same for what follows it.
  const bytes = new TextEncoder().encode(path).length;
  const limit = path.startsWith("\0") ? MAX_PATH_BYTES + 1 : MAX_PATH_BYTES;
  if (bytes > limit) {
    const how = path.startsWith("\0")
      ? `, and the system allows at most ${limit}. Choose a shorter name`
      : ` when absolute, and the system allows at most ${limit}. ${remedy}`;
    throw new RangeError(
      `Invalid socket path ${quoteAddress(path)}: it has ${bytes} bytes${how}`,
    );
  }
  return path;
}

/** A symbolic link that `..` follows in a path. */
interface Ambiguity {
  link: string;
  /** The directory that `..` means to the system: the parent of the link's target. */
  parent: string;
  /** The directory that `..` means to Deno's permissions: the one that holds the link. */
  lexical: string;
}

/**
 * Returns the first symbolic link in a path after which `..` has two meanings. Returns `undefined`
 * if this process can see none.
 */
function ambiguityOf(path: string): Ambiguity | undefined {
  if (!path.includes("/..")) return undefined;
  let before = path.startsWith("/") ? "" : Deno.cwd();
  for (const part of path.split("/")) {
    if (part === "..") {
      const found = ambiguityBehind(before);
      if (found !== undefined) return found;
      before = directoryOf(before || "/").replace(/^\/$/, "");
    } else if (part !== "" && part !== ".") {
      before += `/${part}`;
    }
  }
  return undefined;
}

function ambiguityBehind(link: string): Ambiguity | undefined {
  const lexical = directoryOf(link || "/");
  if (link === "" || !isGranted("read", link) || !isGranted("read", lexical)) return undefined;
  try {
    if (!Deno.lstatSync(link).isSymlink) return undefined;
    const parent = directoryOf(Deno.realPathSync(link));
    return parent === Deno.realPathSync(lexical) ? undefined : { link, parent, lexical };
  } catch {
    // The call that uses the path reports what is missing or cannot be seen.
    return undefined;
  }
}
