/** The plot of the ratios in docs/performance.md, as SVG. */

const WIDTH = 900;
const MARGIN = 24;
/** Colors that are distinct for color-blind readers, too: at least as good as the other, or not. */
const [BETTER, WORSE] = ["#0072b2", "#d55e00"];

/** A ratio of the summary. Above 1 it is better than its baseline, also if it is a cost. */
export interface SummaryRow {
  title: string;
  /** The contender and its baseline. */
  detail: string;
  median: number;
  low: number;
  high: number;
  /** The ratio in words. */
  label: string;
}

/** Returns the summary plot: each ratio as a bar from 1, on a logarithmic scale. */
export function summaryOf(rows: readonly SummaryRow[], where: string): string {
  const row = 38;
  const [left, right, top] = [330, 740, 84];
  const bottom = top + rows.length * row;
  const all = rows.flatMap(({ low, high }) => [low, high]);
  const [first, last] = [
    Math.floor(Math.log2(Math.min(...all, 0.5))),
    Math.ceil(Math.log2(Math.max(...all, 2))),
  ];
  const place = (value: number) =>
    left + (right - left) * (Math.log2(value) - first) / (last - first);
  const parts = [
    text(MARGIN, 30, "How fast uds is, compared with its alternatives", "title"),
    text(MARGIN, 50, `${where}. Longer to the right is better. At 1 both are equal.`),
  ];
  for (let power = first; power <= last; power++) {
    const x = fixed(place(2 ** power));
    const tick = power < 0 ? `1/${2 ** -power}` : String(2 ** power);
    parts.push(
      `<line class="${
        power === 0 ? "goal" : "grid"
      }" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>`,
      text(Number(x), top - 8, tick, "middle"),
    );
  }
  rows.forEach(({ title, detail, median, low, high, label }, i) => {
    const y = top + i * row;
    const [from, to] = [Math.min(1, median), Math.max(1, median)].map(place) as [number, number];
    parts.push(
      text(left - 16, y + 16, title, "end"),
      text(left - 16, y + 31, detail, "end small"),
      `<rect x="${fixed(from)}" y="${y + 10}" width="${
        fixed(Math.max(1, to - from))
      }" height="18" fill="${median < 1 ? WORSE : BETTER}" opacity="0.8"/>`,
      `<line x1="${fixed(place(low))}" x2="${fixed(place(high))}" y1="${y + 19}" y2="${
        y + 19
      }" stroke="#222"/>`,
      text(right + 12, y + 23, label),
    );
  });
  return svg(bottom + 16, parts);
}

function svg(height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>The results of the benchmark</title>
<style>
text { font: 12px sans-serif; fill: #222 }
.title { font-size: 15px; font-weight: bold }
.small { font-size: 11px; fill: #666 }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #ddd }
.goal { stroke: #222; stroke-width: 2 }
</style>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join("\n")}
</svg>
`;
}

function fixed(value: number): string {
  return value.toFixed(1);
}

function text(x: number, y: number, content: string, style = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${fixed(x)}" y="${fixed(y)}"${style && ` class="${style}"`}>${escaped}</text>`;
}
