/** The plots as SVG: the ratios as bars beside their lines, the curves, and a summary. */

import { goalOf, number, type Results, verdictsOf } from "./report.ts";
import type { Figures } from "./measure.ts";
import { spreadOf } from "./statistics.ts";
import type { Subject } from "./subject.ts";

const WIDTH = 900;
const MARGIN = 24;
const ROW = 22;
const BAR_LEFT = 430;
const BAR_WIDTH = 330;
const CURVE_HEIGHT = 300;
/** Colors that are distinct for color-blind readers, too. */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/** Returns the plot of all results. */
export function svgOf(results: Results): string {
  const parts: string[] = [];
  let y = MARGIN + 16;
  parts.push(text(MARGIN, y, "uds: ratios to the baselines", "title"));
  y += 18;
  const { date, processor, cores, versions } = results.environment;
  const where = `${date}, ${processor}, ${cores} cores, Deno ${versions["Deno"]}`;
  parts.push(text(MARGIN, y, `${where}. A bar to the right of the mark has reached its line.`));
  y += 16;
  const bars = barsOf(results, y);
  parts.push(bars.svg);
  y = bars.end + 24;
  const curves = Map.groupBy(
    results.subjects.filter(({ point }) => point !== undefined),
    ({ point }) => point?.curve as string,
  );
  for (const [name, points] of curves) {
    parts.push(curveOf(name, points, results, y));
    y += CURVE_HEIGHT + 40;
  }
  return svg(y, parts);
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
      }" height="18" fill="${COLORS[median < 1 ? 1 : 0]}" opacity="0.8"/>`,
      `<line x1="${fixed(place(low))}" x2="${fixed(place(high))}" y1="${y + 19}" y2="${
        y + 19
      }" stroke="#222"/>`,
      text(right + 12, y + 23, label),
    );
  });
  return svg(bottom + 16, parts);
}

/** Returns a bar per line, from 1/4 to 4 on a logarithmic scale. 1 is the line itself. */
function barsOf(results: Results, top: number): { svg: string; end: number } {
  const place = (part: number) =>
    BAR_LEFT + BAR_WIDTH * (Math.log2(Math.min(4, Math.max(0.25, part))) + 2) / 4;
  const parts: string[] = [];
  let y = top;
  for (const [subject, { line, ratio, reached }] of verdictsOf(results)) {
    if (ratio === undefined || reached === undefined) continue;
    const part = (value: number) =>
      line.atLeast === undefined ? (line.atMost as number) / value : value / line.atLeast;
    const color = reached ? COLORS[0] : COLORS[1];
    const [from, to] = [place(0.25), place(part(ratio.median))];
    const whiskers = [part(ratio.low), part(ratio.high)].map(place) as [number, number];
    const middle = y + ROW / 2;
    parts.push(
      text(BAR_LEFT - 8, middle + 4, `${subject.name}: ${line.ours} / ${line.baseline}`, "end"),
      `<rect x="${fixed(from)}" y="${y + 4}" width="${fixed(to - from)}" height="${
        ROW - 8
      }" fill="${color}" opacity="0.8"/>`,
      `<line x1="${fixed(whiskers[0])}" x2="${
        fixed(whiskers[1])
      }" y1="${middle}" y2="${middle}" stroke="#222"/>`,
      text(BAR_LEFT + BAR_WIDTH + 8, middle + 4, `${number(ratio.median)} (${goalOf(line)})`),
    );
    y += ROW;
  }
  const goal = fixed(place(1));
  parts.push(`<line class="goal" x1="${goal}" x2="${goal}" y1="${top}" y2="${y}"/>`);
  return { svg: parts.join("\n"), end: y };
}

/** Returns a plot with a curve for each contender. Both axes are logarithmic. */
function curveOf(name: string, points: Subject[], results: Results, top: number): string {
  const { unit, better, point, contenders } = points[0] as Subject;
  const series = contenders.map((contender) => ({
    name: contender.name,
    values: points.flatMap((subject) => {
      const figures = results.figures.get(subject.name)?.get(contender.name) as Figures;
      if (figures.values.length === 0) return [];
      return [[subject.point?.x as number, spreadOf(figures.values).median] as const];
    }),
  })).filter(({ values }) => values.length > 0);
  if (series.length === 0) return "";
  const [left, right] = [MARGIN + 60, WIDTH - 190];
  const [high, low] = [top + 24, top + CURVE_HEIGHT - 36];
  const xs = scale(series.flatMap(({ values }) => values.map(([x]) => x)), left, right);
  const ys = scale(series.flatMap(({ values }) => values.map(([, y]) => y)), low, high);
  const parts = [
    text(MARGIN, top + 8, `${name}: ${unit}, ${better} is better`, "title"),
    text((left + right) / 2, low + 34, point?.axis ?? "", "middle"),
  ];
  for (const tick of ys.ticks) {
    const y = fixed(ys.place(tick));
    parts.push(
      `<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>`,
      text(left - 6, Number(y) + 4, short(tick), "end"),
    );
  }
  for (const { point } of points) {
    parts.push(text(xs.place(point?.x as number), low + 16, short(point?.x as number), "middle"));
  }
  series.forEach(({ name, values }, i) => {
    const color = COLORS[i % COLORS.length];
    const dots = values.map(([x, y]) => [fixed(xs.place(x)), fixed(ys.place(y))]);
    parts.push(
      `<polyline fill="none" stroke="${color}" stroke-width="2" points="${
        dots.map((dot) => dot.join()).join(" ")
      }"/>`,
      ...dots.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${color}"/>`),
      `<rect x="${right + 16}" y="${high + i * 20}" width="12" height="12" fill="${color}"/>`,
      text(right + 34, high + 11 + i * 20, name),
    );
  });
  return parts.join("\n");
}

/** Returns a logarithmic axis over whole powers of ten. */
function scale(
  values: number[],
  from: number,
  to: number,
): { place: (value: number) => number; ticks: number[] } {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
  const place = (value: number) =>
    from + (to - from) * (Math.log10(value) - first) / (last - first);
  return { place, ticks };
}

function short(value: number): string {
  if (value >= 2 ** 20 && value % 2 ** 20 === 0) return `${value / 2 ** 20} Mi`;
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024} Ki`;
  return value >= 0.001 ? String(Number(value.toPrecision(3))) : value.toExponential(0);
}

function fixed(value: number): string {
  return value.toFixed(1);
}

function text(x: number, y: number, content: string, style = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${fixed(x)}" y="${fixed(y)}"${style && ` class="${style}"`}>${escaped}</text>`;
}
