import { assert, assertEquals } from "@std/assert";
import * as constants from "../../_internal/libc/constants.ts";
import { ERRNO_NAMES } from "../../_internal/libc/errno.ts";
import * as layouts from "../../_internal/libc/layouts.ts";
import { denoArgs, encode, run, TempDir, test } from "../_helpers.ts";

/** The constants of macOS, and those without a name in C. */
const NOT_HERE = /^(?:IS_MAC|SUN_PATH_BYTES|SOL_LOCAL|LOCAL_PEER.*|EV_.*|EVFILT_.*)$/;
const STRUCTURES_NOT_HERE = ["XUCRED", "KEVENT"];
/** What is newer than the headers of Debian 12. */
const MAY_BE_MISSING = ["SCM_PIDFD", "SO_PEERPIDFD"];

const LIBC_HEADERS = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <linux/aio_abi.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
`;

/** Those of the kernel alone, of which any compiler makes the values of another processor. */
const KERNEL_HEADERS = `
#include <asm/errno.h>
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/socket.h>
#include <asm/sockios.h>
#include <asm/unistd.h>
#include <linux/aio_abi.h>
#include <linux/eventpoll.h>
#include <linux/uio.h>
#include <linux/un.h>
int printf(const char *format, ...);
#define offsetof __builtin_offsetof
`;

/** Expressions of C for what has no name as an offset. */
const EXPRESSIONS: Record<string, string> = {
  "CMSGHDR.data": "CMSG_LEN(0)",
  "CMSGHDR.alignment": "CMSG_SPACE(1) - CMSG_SPACE(0)",
};

interface Ours {
  constants: Record<string, unknown>;
  layouts: Record<string, Record<string, number>>;
}

/** Returns the values that the code has, by their names or by their expressions in C. */
function valuesOf(ours: Ours): Map<string, number> {
  const values = new Map<string, number>();
  for (const [name, value] of Object.entries(ours.constants)) {
    if (!NOT_HERE.test(name)) values.set(name, Number(value));
  }
  const path = "sizeof ((struct sockaddr_un *)0)->sun_path";
  values.set(path, Number(ours.constants["SUN_PATH_BYTES"]));
  for (const [name, layout] of Object.entries(ours.layouts)) {
    if (STRUCTURES_NOT_HERE.includes(name)) continue;
    const struct = `struct ${name.toLowerCase()}`;
    for (const [field, value] of Object.entries(layout)) {
      const known = EXPRESSIONS[`${name}.${field}`];
      const expression = field === "bytes" ? `sizeof(${struct})` : `offsetof(${struct}, ${field})`;
      values.set(known ?? expression, value);
    }
  }
  for (const [number, name] of ERRNO_NAMES) values.set(name, number);
  return values;
}

/** Returns a line that prints a value of C. */
function print(name: string, expression = name): string {
  return `printf("%lld ${name}\\n", (long long)(${expression}));`;
}

/** Makes and runs a program that prints values, and returns them. */
async function valuesOfC(
  compiler: string,
  options: string[],
  headers: string,
  lines: string[],
): Promise<Map<string, number>> {
  await using dir = new TempDir();
  const source = dir.file("layouts.c");
  const text = `${headers}\nint main(void) {\n${lines.join("\n")}\nreturn 0;\n}\n`;
  Deno.writeFileSync(source, encode(text));
  const made = await run(compiler, [...options, "-o", dir.file("layouts"), source]);
  assertEquals(made.stderr, "");
  const { stdout } = await run(dir.file("layouts"), []);
  return new Map(
    stdout.trimEnd().split("\n").map((line) => {
      const [value, ...name] = line.split(" ");
      return [name.join(" "), Number(value)];
    }),
  );
}

const ARM64_HEADERS = "/usr/aarch64-linux-gnu/include";
const ARM64_NEEDS = exists(`${ARM64_HEADERS}/asm/unistd.h`)
  ? ["gcc"]
  : ["linux-libc-dev-arm64-cross"];

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const optional = (name: string, line: string) => `#ifdef ${name}\n${line}\n#endif`;

for (const compiler of ["gcc", "musl-gcc"]) {
  test(`every constant and layout is that of the headers of ${compiler}`, async () => {
    const values = valuesOf({ constants, layouts });
    const lines = [...values.keys()].map((name) =>
      MAY_BE_MISSING.includes(name) ? optional(name, print(name)) : print(name)
    );
    // The headers of the kernel are not beside those of musl.
    const directories = ["/usr/include", `/usr/include/${Deno.build.arch}-linux-gnu`];
    const options = directories.flatMap((path) => ["-idirafter", path]);
    const theirs = await valuesOfC(compiler, options, LIBC_HEADERS, lines);
    for (const name of MAY_BE_MISSING) if (!theirs.has(name)) values.delete(name);
    assertEquals(theirs, values);
  }, { needs: [compiler] });
}

test("what the kernel's headers for aarch64 have is the same there", async () => {
  const args = denoArgs("native_layouts.ts", [], ["aarch64"]);
  const values = valuesOf(JSON.parse((await run(Deno.execPath(), args)).stdout));
  const structures = /^(?:size|offset)of.*struct (?:epoll_event|iocb|io_event|iovec|sockaddr_un)\b/;
  const lines = [...values.keys()].flatMap((name) => {
    if (name.startsWith("SYS_")) return print(name, name.replace("SYS", "__NR"));
    if (structures.test(name) || name === "IOCB_CMD_POLL") return print(name);
    return /^\w+$/.test(name) ? optional(name, print(name)) : [];
  });
  const options = ["-nostdinc", "-U__x86_64__", "-D__aarch64__"];
  const include = ["-isystem", ARM64_HEADERS];
  const theirs = await valuesOfC("gcc", [...options, ...include], KERNEL_HEADERS, lines);
  assert(theirs.size > 100, `only ${theirs.size}`);
  const differing = ["O_DIRECTORY", "SYS_io_setup", "sizeof(struct epoll_event)"];
  for (const name of differing) assert(theirs.has(name), name);
  for (const [name, value] of theirs) assertEquals([name, values.get(name)], [name, value]);
}, { needs: ARM64_NEEDS });
