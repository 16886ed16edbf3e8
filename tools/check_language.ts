/**
 * Checks the words of pages, comments and string literals by the language rules of CONTRIBUTING.md.
 *
 * - `deno run -A tools/check_language.ts [FILE…]` lists the places and fails if there are any.
 * - With `--count` it prints how many there are in each folder, and succeeds.
 * - A good use of a banned word is in {@linkcode ALLOWED}. An unused entry is reported too.
 */

import { lineOf, partsOf, projectFiles } from "./source_text.ts";

/** A use of a banned word that is right. */
export interface Allowed {
  readonly file: string;
  /** The banned word with the words around it, on one line. */
  readonly phrase: string;
  readonly reason: string;
}

/** A place that uses a banned word. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly words: string;
  /** The text around the words, white space collapsed. */
  readonly context: string;
}

/** Files that list banned words as data. */
const SKIPPED = ["tools/check_language.ts", "tests/project/language_test.ts"];

/** Words between which a line may break, also within a comment. */
const BANNED = [
  "somebody|somebody's|someone|someone's|nobody|nobody's|whoever|everybody|everyone|anybody",
  "stranger|strangers",
  "whom|whose|who",
  "for ever",
  "is no|are no",
  "that is none|which is none|is none",
  "to be called|is to be|are to be|has to be|have to be",
  "in any case",
  "gives back|takes note|told from|said by",
  "tells|gives|lets",
  "knock|knocks|shelter|shelters|sheltered|occupant|occupants|rival|rivals|patience",
].join("|").split("|");

/** White space between two words, with the beginning of a line of a comment or of a quotation. */
const GAP = String.raw`\s+(?:(?:\*|//|>)\s+)?`;

const PATTERN = new RegExp(
  String.raw`(?<![\w-])(?:${
    BANNED.toSorted((a, b) => b.length - a.length).map((words) => words.replaceAll(" ", GAP))
      .join("|")
  })(?![\w-])`,
  "gi",
);

/** Uses that are right wherever they are: "there is no …", people, and the user called nobody. */
const GOOD = new RegExp(
  String.raw`\bthere${GAP}(?:is|are)${GAP}no$|` +
    String.raw`\b(?:user|users|people|person|maintainers)${GAP}(?:who|whom|whose)$|` +
    "[\"'`]nobody$",
  "i",
);

/** Good uses of banned words. */
export const ALLOWED: readonly Allowed[] = [
  { file: "CONTRIBUTING.md", phrase: "Tells if the peer", reason: "an example of what to avoid" },
  { file: "CONTRIBUTING.md", phrase: "Whoever connects", reason: "an example of what to avoid" },
  { file: "CONTRIBUTING.md", phrase: "file is no socket", reason: "an example of what to avoid" },
  { file: "CONTRIBUTING.md", phrase: "Is to be called", reason: "an example of what to avoid" },
];

/**
 * Returns the places of a text that use banned words.
 *
 * @param file The path. All of a `.md` file is prose; of others, comments and string literals are.
 * @param source The content of the file.
 */
export function placesOf(file: string, source: string): Place[] {
  const parts = file.endsWith(".md") ? [{ text: source, start: 0 }] : partsOf(source);
  return parts.flatMap(({ text, start }) =>
    [...text.matchAll(PATTERN)].flatMap((match) => {
      const end = match.index + match[0].length;
      if (GOOD.test(text.slice(Math.max(0, match.index - 30), end))) return [];
      const context = text.slice(Math.max(0, match.index - 40), end + 40);
      return [{
        file,
        line: lineOf(source, start + match.index),
        words: collapse(match[0]),
        context: collapse(context),
      }];
    })
  );
}

/** Returns the text on one line, without the beginnings of lines of a comment. */
function collapse(text: string): string {
  return text.replace(new RegExp(GAP, "g"), " ").trim();
}

/** Returns the places that are not allowed, and the entries that no place needs. */
export function applyAllowed(
  places: readonly Place[],
  allowed: readonly Allowed[],
): { rest: Place[]; unused: Allowed[] } {
  const fits = (place: Place, { file, phrase }: Allowed) =>
    place.file === file && phrase.includes(place.words) && place.context.includes(phrase);
  return {
    rest: places.filter((place) => !allowed.some((entry) => fits(place, entry))),
    unused: allowed.filter((entry) => !places.some((place) => fits(place, entry))),
  };
}

/** Returns the folder of a file as the counts show it. */
function folderOf(file: string): string {
  const [first = "", second, third] = file.split("/");
  if (second === undefined) return file.endsWith(".md") ? "*.md" : "*.ts";
  return third === undefined || first === "tests" ? first : `${first}/${second}`;
}

if (import.meta.main) {
  const given = Deno.args.filter((arg) => !arg.startsWith("--"));
  const files = (given.length > 0 ? given : projectFiles([".md", ".ts"]))
    .filter((file) => !SKIPPED.includes(file));
  const places = files.flatMap((file) => placesOf(file, Deno.readTextFileSync(file)));
  const { rest, unused } = applyAllowed(places, ALLOWED.filter(({ file }) => files.includes(file)));
  if (Deno.args.includes("--count")) {
    const folders = Map.groupBy(rest, ({ file }) => folderOf(file));
    for (const [folder, { length }] of [...folders].sort(([a], [b]) => a < b ? -1 : 1)) {
      console.log(`${String(length).padStart(5)} ${folder}`);
    }
  } else {
    for (const { file, line, words, context } of rest) {
      console.error(`${file}:${line}: "${words}" in: ${context}`);
    }
    for (const { file, phrase } of unused) {
      console.error(`${file} does not need its entry in ALLOWED: "${phrase}"`);
    }
    if (rest.length + unused.length > 0) Deno.exitCode = 1;
  }
  console.log(`${rest.length} places with banned words in ${files.length} files`);
}
