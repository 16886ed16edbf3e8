/**
 * Operations on paths and `file:` URLs.
 *
 * They do what `resolve`, `dirname` and `fromFileUrl` of `@std/path/posix` do, and a
 * test compares them. Loading those would take longer than connecting a client.
 */

/**
 * Makes a path absolute, without `.`, `..` and repeated or final slashes.
 *
 * @param path The path.
 * @param base The directory that a relative path starts from, by default the working directory.
 */
export function absolutePath(path: string, base: string = ""): string {
  const parts: string[] = [];
  let whole = path;
  if (!whole.startsWith("/")) whole = `${base}/${path}`;
  if (!path.startsWith("/") && !base.startsWith("/")) whole = `${Deno.cwd()}/${whole}`;
  for (const part of whole.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/**
 * Spells a path of Deno itself differently. In the arguments of a program that it starts by
 * node:child_process, Deno inserts `-A` after exactly its own path.
 */
export function respell(command: string): string {
  return command === Deno.execPath() ? command.replace(/\/(?=[^/]*$)/, "/./") : command;
}

/** Returns the directory of an absolute path. */
export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/**
 * Returns the path of a `file:` URL.
 *
 * @throws {TypeError} when it is another URL.
 * @throws {URIError} when its escapes are not those of UTF-8.
 */
export function pathOfUrl(url: URL): string {
  if (url.protocol !== "file:") throw new TypeError("expected a file: URL");
  return decodeURIComponent(url.pathname.replace(/%(?![0-9a-f]{2})/gi, "%25"));
}

/** Returns why a URL is not simply a path, or `undefined` if it is. */
export function faultOfUrl(url: URL): string | undefined {
  if (url.protocol !== "file:") return "expected a file: URL";
  if (url.host !== "") return "a file: URL with a host names nothing here";
  if (url.search !== "" || url.hash !== "") {
    return `it has a query or a hash. Escape "?" and "#" in a path as %3F and %23`;
  }
  try {
    return pathOfUrl(url).includes("\0") ? "it contains a NUL" : undefined;
  } catch {
    return "its percent escapes are not those of UTF-8";
  }
}
