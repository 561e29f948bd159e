/** Small multiples of lines: one panel a column, all with the same axes, both logarithmic. */
export interface LineChart {
  title: string;
  /** What the dashed line stands for. */
  wanted: string;
  /** What the horizontal axis counts. */
  across: string;
  /** Where the horizontal axis is labelled. */
  ticks: readonly number[];
  panels: readonly {
    title: string;
    /** The height of a dashed line. */
    wanted: number;
    lines: readonly { name: string; points: readonly (readonly [x: number, y: number])[] }[];
  }[];
}

/** Told apart by those who see few colours, too (Okabe and Ito), and by the marks. */
const colours = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7"];
const marks = ["circle", "square", "diamond", "triangle"];
const panel = { width: 230, height: 220, gap: 24, left: 52, top: 116 };

export function lineChart({ title, wanted, across, ticks, panels }: LineChart): string {
  const heights = panels.flatMap(({ lines, wanted }) => [
    wanted,
    ...lines.flatMap(({ points }) => points.map(([, y]) => y)),
  ]);
  const steps = axis(Math.min(...heights), Math.max(...heights));
  const y = scale(steps[0] as number, steps.at(-1) as number, panel.top + panel.height, panel.top);
  const names = panels[0]?.lines.map(({ name }) => name) ?? [];
  // At least as wide as the legend.
  const width = Math.max(790, panel.left + panels.length * (panel.width + panel.gap));
  const bottom = panel.top + panel.height;

  const drawn = panels.map((each, column) => {
    const left = panel.left + column * (panel.width + panel.gap);
    const right = left + panel.width;
    const x = scale(Math.min(...ticks), Math.max(...ticks), left + 14, right - 14);
    const grid = steps.map((step) => {
      const label = column === 0 ? text(left - 8, y(step) + 4, step, "end") : "";
      return `<path d="M${left} ${y(step)}H${right}" stroke="#ddd"/>${label}`;
    });
    const labels = ticks.map((tick) => text(x(tick), bottom + 18, tick, "middle"));
    const lines = each.lines.map(({ points }, i) => {
      const path = points.map(([a, b]) => `${x(a)} ${y(b)}`).join("L");
      const dots = points.map(([a, b]) => mark(i, x(a), y(b)));
      return `<path d="M${path}" fill="none" stroke="${colours[i]}" stroke-width="2"/>${dots.join("")}`;
    });
    const limit = `<path d="M${left} ${y(each.wanted)}H${right}" stroke="#222" stroke-dasharray="5 4"/>`;
    const heading = text(left, panel.top - 10, each.title, "start", "bold");
    return [
      heading,
      ...grid,
      ...labels,
      text((left + right) / 2, bottom + 38, across, "middle"),
      limit,
      ...lines,
    ];
  });

  let at = panel.left;
  const legend = names.map((name, i) => {
    const item = `${mark(i, at + 5, 70)}${text(at + 15, 74, name)}`;
    at += 34 + name.length * 6.6;
    return item;
  });
  const height = bottom + 52;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222" role="img">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
${text(panel.left, 28, title, "start", "bold", 16)}
<path d="M${panel.left} 45h24" stroke="#222" stroke-dasharray="5 4"/>${text(panel.left + 32, 49, wanted)}
${[...legend, ...drawn.flat()].join("\n")}
</svg>
`;
}

/** 1, 2, 5, 10, 20, … around all values. */
function axis(low: number, high: number): number[] {
  const all = [-1, 0, 1, 2, 3, 4].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
  const first = all.findLastIndex((step) => step <= low);
  return all.slice(Math.max(first, 0), all.findIndex((step) => step >= high) + 1);
}

function scale(low: number, high: number, from: number, to: number): (value: number) => number {
  const share = (value: number) => (low === high ? 0.5 : Math.log(value / low) / Math.log(high / low));
  return (value) => Math.round(10 * (from + share(value) * (to - from))) / 10;
}

function mark(series: number, x: number, y: number): string {
  const shapes: Record<string, string> = {
    circle: `<circle cx="${x}" cy="${y}" r="4"`,
    square: `<rect x="${x - 3.5}" y="${y - 3.5}" width="7" height="7"`,
    diamond: `<path d="M${x} ${y - 5}l5 5l-5 5l-5 -5z"`,
    triangle: `<path d="M${x} ${y - 5}l4.5 8h-9z"`,
  };
  return `${shapes[marks[series % marks.length] as string]} fill="${colours[series % colours.length]}"/>`;
}

function text(
  x: number,
  y: number,
  what: string | number,
  anchor = "start",
  weight = "normal",
  size = 12,
): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-weight="${weight}" font-size="${size}">${escaped(`${what}`)}</text>`;
}

function escaped(what: string): string {
  return what.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
