import { assertEquals, assertThrows } from "@std/assert";
import posix from "node:path/posix";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  basename,
  dirname,
  fromFileUrl,
  join,
  resolve,
  toFileUrl,
} from "../_internal/posix_path.ts";

const PATHS = [
  "/",
  "//",
  "/a",
  "//a",
  "/a/",
  "/a/b",
  "/a//b//",
  "/a/./b/../c",
  "/../a",
  "/a/../../b",
  "a",
  "a/b",
  "./a",
  "../a",
  "a/../..",
  "a/../../b",
  ".",
  "..",
  "...",
  "/a/.b",
  "/a b/ü😀",
  "/a\nb\t#?%41\\",
  "~",
  "-",
];

Deno.test("the names of a path are those that node:path gives", () => {
  for (const path of PATHS) {
    assertEquals(basename(path), posix.basename(path), path);
    assertEquals(dirname(path), posix.dirname(path).replace(/(?<=.)\/+$/, ""), path);
  }
});

Deno.test("join() and resolve() give what node:path gives", () => {
  for (const a of PATHS) {
    assertEquals(resolve(a), posix.resolve(a), a);
    for (const b of PATHS) {
      // No final slash: it would name the same file.
      const joined = posix.join(a, b).replace(/(?<=.)\/$/, "");
      assertEquals(join(a, b), joined, `${a} ${b}`);
      assertEquals(resolve(a, b), posix.resolve(a, b), `${a} ${b}`);
      assertEquals(resolve("/x", a, "", b), posix.resolve("/x", a, "", b), `${a} ${b}`);
    }
  }
  assertEquals([resolve(), resolve("")], [Deno.cwd(), Deno.cwd()]);
});

Deno.test("toFileUrl() and fromFileUrl() lead to each other, and agree with node:url", () => {
  for (const path of PATHS.map((path) => resolve("/", path))) {
    assertEquals(fileURLToPath(toFileUrl(path)), path);
    assertEquals(fromFileUrl(toFileUrl(path)), path);
    assertEquals(fromFileUrl(pathToFileURL(path)), path);
  }
  assertEquals(fromFileUrl(new URL("file:///a%zz")), "/a%zz");
  assertThrows(() => fromFileUrl(new URL("http://host/a")), TypeError, "http://host/a");
});
