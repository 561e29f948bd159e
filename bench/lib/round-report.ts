import { lineChart } from "./chart.ts";
import { commandLine, madeWith, publish, type Section, today, type Verdict, writeTo } from "./report.ts";
import type { Cell, Plan, playRounds, Trip } from "./rounds.ts";
import { isOurs } from "./waiters.ts";

/** A cell with the figures a benchmark makes of its rounds. */
type Seen<Figures> = Cell & { seen: Figures };

/** What one benchmark tells of the rounds: a table for each round trip, what was wanted, and plots by crowd. */
interface Telling<Figures> {
  title: string;
  /** The benchmark's file, from the repository's root. */
  file: string;
  /** What the columns mean. */
  note: string;
  /** @param bare what a bare request took, in ms */
  figures(cell: Cell, bare: number): Figures;
  columns: (readonly [header: string, text: (seen: Figures) => string])[];
  /**
   * What is wanted of one of our variants at one round trip.
   * @param own its cells, one a crowd
   */
  wanted(own: [Seen<Figures>, ...Seen<Figures>[]]): Want<Figures>[];
  plots: Plot<Figures>[];
}

/** A figure that is to be at most `limit`, whatever the crowd. */
interface Want<Figures> {
  what: string;
  limit: number;
  /** The smallest crowd of which it is wanted. Default: any. */
  crowd?: number;
  of(cell: Seen<Figures>): number;
}

interface Plot<Figures> {
  file: string;
  title: string;
  /** What the dashed line stands for. */
  wanted: string;
  /** Its height, by what a bare request took and the simulated round trip, in ms. */
  limit(bare: number, rtt: number): number;
  of(seen: Figures): number;
}

/** What `readPlan` makes of the command line. */
interface Asked {
  plan: Plan;
  args: { svg?: string; md?: string; json?: string; check?: boolean };
}

export function publishRounds<Figures>(
  telling: Telling<Figures>,
  { plan, args }: Asked,
  { engine, trips }: Awaited<ReturnType<typeof playRounds>>,
): void {
  const { title, file, note, figures, plots } = telling;
  const seen = trips.map(({ rtt, bare, cells }) => ({
    rtt,
    bare,
    cells: cells.map((cell) => ({ ...cell, seen: figures(cell, bare) })),
  }));
  if (args.svg) for (const plot of plots) draw(args.svg, plot, plan, seen);
  publish(
    {
      title,
      command: commandLine(file),
      date: today(),
      made: { ...madeWith("serverless-lock", "@upstash/redis", "@upstash/lock"), engine },
      note,
      sections: seen.map((trip) => describe(telling, plan, trip)),
      verdicts: seen.flatMap((trip) => judge(telling, plan, trip)),
      plots: args.svg ? plots.map(({ title, file }) => ({ title, file })) : [],
    },
    args,
  );
}

/** A round trip, with its cells' figures. */
interface SeenTrip<Figures> extends Trip {
  cells: Seen<Figures>[];
}

function describe<Figures>(
  { columns }: Telling<Figures>,
  { work, stagger }: Plan,
  trip: SeenTrip<Figures>,
): Section {
  const { rtt, bare, cells } = trip;
  const header = ["", "waiting", ...columns.map(([name]) => name)];
  const rows = cells.map(({ library, crowd, seen }) => [
    library,
    `${crowd}`,
    ...columns.map(([, text]) => text(seen)),
  ]);
  return {
    title: `${rtt} ms round trip (a bare request takes ${bare.toFixed(1)} ms), ${work} ms of work, arrivals ${stagger} ms apart`,
    table: [header, ...rows],
    data: trip,
  };
}

function judge<Figures>(
  { wanted }: Telling<Figures>,
  { libraries }: Plan,
  { rtt, cells }: SeenTrip<Figures>,
): Verdict[] {
  return libraries.filter(isOurs).flatMap((library) => {
    const own = cells.filter((cell) => cell.library === library);
    return wanted(own as [(typeof own)[number]]).flatMap(({ what, limit, crowd = 0, of }): Verdict[] => {
      const all = own
        .filter((cell) => cell.crowd >= crowd)
        .map((cell) => ({ crowd: cell.crowd, value: of(cell) }));
      if (all.length === 0) return [];
      const worst = all.reduce((a, b) => (b.value > a.value ? b : a));
      const verdict = {
        what: `${library} at ${rtt} ms: ${what}`,
        wanted: `≤ ${limit}`,
        seen: `${worst.value.toFixed(2)} (${worst.crowd} waiting)`,
        pass: worst.value <= limit,
        exact: false,
      };
      return [verdict];
    });
  });
}

function draw<Figures>(
  folder: string,
  { file, title, wanted, limit, of }: Plot<Figures>,
  { libraries, crowds }: Plan,
  trips: SeenTrip<Figures>[],
): void {
  const panels = trips.map(({ rtt, bare, cells }) => ({
    title: `${rtt} ms round trip`,
    wanted: limit(bare, rtt),
    lines: libraries.map((library) => ({
      name: library,
      points: cells
        .filter((cell) => cell.library === library)
        .map(({ crowd, seen }): [number, number] => [crowd, of(seen)]),
    })),
  }));
  const chart = { title, wanted, across: "waiting for the lock", ticks: crowds, panels };
  writeTo(`${folder}/${file}`, lineChart(chart));
}
