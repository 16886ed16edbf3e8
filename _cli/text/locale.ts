/** The locale: whether the terminal shows characters that are not ASCII. */

import { isGranted } from "../../_internal/base/deno_permissions.ts";

/** The variables of POSIX, of which the first one that is set counts. */
const VARIABLES = ["LC_ALL", "LC_CTYPE", "LANG"];

let isAscii: boolean | undefined;

/** Returns a text, or one in ASCII if the locale is known to have no UTF-8, such as `C`. */
export function inLocale(text: string, ascii: string): string {
  isAscii ??= namesOther();
  return isAscii ? ascii : text;
}

/** Reports whether the environment names a locale without UTF-8, if it may be read. */
function namesOther(): boolean {
  if (!VARIABLES.every((name) => isGranted("env", name))) return false;
  const value = VARIABLES.map((name) => Deno.env.get(name)).find((value) => value);
  return value !== undefined && !/utf-?8/i.test(value);
}
