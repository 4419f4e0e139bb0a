// Curves: two panels against one axis; seeds as means with bands or as lines.

const curves = data.curves;
const MOST_MARKERS = 12; // on a mean; a run has fewer
const RUN_MARKERS = 4;

// Mean of `width` values around each; towards the ends of fewer, as many on either side.
function smooth(values, width) {
  return values.map((_, at) => {
    const half = Math.min((width - 1) / 2, at, values.length - 1 - at);
    const near = values.slice(at - half, at + half + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

// The points of a run at which both axes have a value.
function pointsOf(run, axisName, column) {
  const [xs, ys] = [list(run.x[axisName]) || [], list(run.y[column]) || []];
  const kept = ys.map((y, at) => at).filter((at) => finite(ys[at]) && finite(xs[at]));
  return { x: kept.map((at) => xs[at]), y: kept.map((at) => ys[at]) };
}

function settings(panel) {
  return {
    panel,
    axis: chosen("curves-against"),
    xScale: chosen("curves-x-scale"),
    bands: chosen("curves-seeds") === "bands",
    width: Number(chosen("curves-smoothing")),
    column: chosen(`${panel}-column`),
    scale: chosen(`${panel}-scale`),
  };
}

const isLost = (run) => run.status === "diverged";
const lostAt = (run) => (finite(run.lost_at) ? ` at step ${show(run.lost_at)}` : "");
const isDone = (run) => run.status === "done";

function hover(set, name) {
  return `${plain(name)}<br>${plain(curves.axes[set.axis])} %{x:,.6~g}<br>${plain(set.column)} `;
}

function line(group, x, y, more) {
  return {
    type: "scatter",
    mode: x.length > 1 ? "lines+markers" : "markers",
    x,
    y,
    line: { color: lineColour(group), dash: group.dash, width: 2 },
    marker: { color: lineColour(group), symbol: group.marker, size: 7, maxdisplayed: MOST_MARKERS },
    ...more,
  };
}

// The points as they were measured, beneath a smoothed line.
function rawPoints(group, x, y) {
  return {
    type: "scatter",
    mode: "markers",
    x,
    y,
    hoverinfo: "skip",
    marker: { color: faded(lineColour(group), 0.45), symbol: "circle", size: 4 },
    meta: "raw",
  };
}

function band(group, x, low, high) {
  return {
    type: "scatter",
    mode: "lines",
    x: [...x, ...[...x].reverse()],
    y: [...high, ...[...low].reverse()],
    fill: "toself",
    fillcolor: faded(lineColour(group), 0.18),
    line: { width: 0 },
    hoverinfo: "skip",
    meta: "band",
  };
}

// On a logarithmic axis a band ends where the axis does, as 0 has no place on it.
function bandEnds(set, mean, sd, floor) {
  const low = mean.map((value, at) => value - (sd[at] || 0));
  const high = mean.map((value, at) => value + (sd[at] || 0));
  return [set.scale === "log" ? low.map((value) => Math.max(value, floor)) : low, high];
}

function meanTraces(group, set, floor) {
  const traces = [];
  for (const piece of group.means[set.column]) {
    if (piece.x[set.axis] === undefined) continue;
    const [x, mean, sd, n] = [piece.x[set.axis], piece.mean, piece.sd, piece.n].map(list);
    const [low, high] = bandEnds(set, mean, sd, floor);
    traces.push(band(group, x, low, high));
    if (set.width > 1) traces.push(rawPoints(group, x, mean));
    const words = mean.map((value, at) => `${show(value)} ± ${show(sd[at])} (mean of ${n[at]} runs)`);
    traces.push(
      line(group, x, smooth(mean, set.width), {
        customdata: words,
        hovertemplate: `${hover(set, group.label)}%{customdata}<extra></extra>`,
        meta: "mean",
      }),
    );
  }
  return traces;
}

// Runs of a group in one trace, with a gap between two.
function runTraces(group, runs, set, faint) {
  const [raw, drawn] = [{ x: [], y: [] }, { x: [], y: [], words: [] }];
  for (const run of runs) {
    const { x, y } = pointsOf(run, set.axis, set.column);
    const words = y.map((value) => `${show(value)}`);
    raw.x.push(...x, null);
    raw.y.push(...y, null);
    drawn.x.push(...x, null);
    drawn.y.push(...smooth(y, set.width), null);
    const ending = isDone(run) ? "" : ` (${run.status}${lostAt(run)})`;
    drawn.words.push(...words.map((word) => [plain(`${group.label} seed ${run.seed}${ending}`), word]), null);
  }
  if (!drawn.y.some(finite)) return [];
  const more = {
    customdata: drawn.words,
    hovertemplate:
      `%{customdata[0]}<br>${plain(curves.axes[set.axis])} %{x:,.6~g}<br>` +
      `${plain(set.column)} %{customdata[1]}<extra></extra>`,
    meta: faint ? "other" : "runs",
  };
  const made = line(group, drawn.x, drawn.y, more);
  made.line.width = faint ? 1 : 1.5;
  made.mode = faint ? "lines" : "lines+markers";
  if (!faint) made.marker.maxdisplayed = RUN_MARKERS * runs.length;
  return set.width > 1 ? [rawPoints(group, raw.x, raw.y), made] : [made];
}

// A cross where a diverged run was last finite, or at the edge of the chart.
function crosses(group, set, range) {
  const [low, high] = set.scale === "log" ? range.map((end) => 10 ** end) : range;
  const [x, y, words] = [[], [], []];
  for (const run of group.runs.filter(isLost)) {
    const points = pointsOf(run, set.axis, set.column);
    if (!points.x.length) continue;
    const [lastX, lastY] = [points.x.at(-1), points.y.at(-1)];
    x.push(lastX);
    y.push(Math.min(Math.max(lastY, low), high));
    words.push(plain(`${group.label} seed ${run.seed} diverged${lostAt(run)}; last ${set.column} ${show(lastY)}`));
  }
  if (!x.length) return [];
  return [
    {
      type: "scatter",
      mode: "markers",
      x,
      y,
      text: words,
      hoverinfo: "text",
      cliponaxis: false,
      marker: { symbol: "x-thin", size: 11, line: { width: 3, color: lineColour(group) } },
      meta: "cross",
    },
  ];
}

// The values that the chart must hold: of runs that are done, or where none is, of the others.
function valuesShown(groups, set) {
  for (const keep of [isDone, () => true]) {
    const values = groups.flatMap((group) =>
      group.runs.filter(keep).flatMap((run) => pointsOf(run, set.axis, set.column).y),
    );
    if (values.length) return values;
  }
  return [];
}

function targetOf(set) {
  return curves.target && curves.target.metric === set.column ? curves.target.value : null;
}

function drawPanel(panel) {
  const set = settings(panel);
  const groups = ticked("curves", curves.groups);
  const goal = targetOf(set);
  const values = valuesShown(groups, set);
  const range = limits(goal === null ? values : [...values, goal], set.scale) || [0, 1];
  const floor = set.scale === "log" ? 10 ** (range[0] - 1) : 0;
  const traces = [];
  for (const group of groups) {
    const means = set.bands && (group.means[set.column] || []).length > 0;
    const rest = group.runs.filter((run) => !isDone(run));
    traces.push(...runTraces(group, rest, set, true));
    if (means) traces.push(...meanTraces(group, set, floor));
    else traces.push(...runTraces(group, group.runs.filter(isDone), set, false));
    traces.push(...crosses(group, set, range));
  }
  const shapes = goal === null ? [] : [dottedLine(goal)];
  const annotations = goal === null ? [] : [targetText(goal, set)];
  const xaxis = axis(curves.axes[set.axis], set.xScale, {});
  plot(panel, traces, xaxis, axis(set.column, set.scale, { range, autorange: false }), { shapes, annotations });
  caption(panel, describe(set, groups, values));
  fillTable(panel);
}

function dottedLine(goal) {
  const ink = { color: colour("--ink"), width: 1.5, dash: "dot" };
  return { type: "line", xref: "paper", x0: 0, x1: 1, y0: goal, y1: goal, line: ink };
}

function targetText(goal, set) {
  const y = set.scale === "log" ? Math.log10(goal) : goal;
  const font = { color: colour("--ink"), size: BASE_FONT - 1 };
  const place = { xref: "paper", x: 1, xanchor: "right", y, yanchor: "bottom" };
  return { ...place, text: `target ${show(goal)}`, showarrow: false, font, bgcolor: faded(colour("--paper"), 0.75) };
}

function describe(set, groups, values) {
  const known = groups.map((group) => [group.label, ending(group, set)]).filter(([, value]) => finite(value));
  const ends = known.slice(0, 8).map(([label, value]) => `${label} ${show(value)}`);
  const scales = `${set.scale === "log" ? "logarithmic" : "linear"} scale`;
  const seeds = set.bands ? "mean and standard deviation over the seeds" : "a line a run";
  const smoothed = set.width > 1 ? `, smoothed over ${set.width} points` : "";
  const start = `${set.column} against ${curves.axes[set.axis]}, ${scales}, ${seeds}${smoothed}`;
  const more = known.length > 8 ? ` and ${known.length - 8} more` : "";
  const under = set.scale === "log" ? values.filter((value) => value <= 0).length : 0;
  const missing = under ? ` ${under} values at or below 0 are not on this scale.` : "";
  return ends.length ? `${start}; last: ${ends.join(", ")}${more}.${missing}` : `${start}; no values.${missing}`;
}

// The mean of the last values of the runs that are done.
function ending(group, set) {
  const lasts = group.runs.filter(isDone).map((run) => pointsOf(run, set.axis, set.column).y.at(-1));
  const known = lasts.filter(finite);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

// The table below a panel, as far as it is open: a row a point of the axis, a column a mean or a run.
function fillTable(panel) {
  const box = byId(`table-${panel}`);
  if (!box.closest("details").open) return;
  const set = settings(panel);
  const columns = [];
  for (const group of ticked("curves", curves.groups)) {
    const pieces = (set.bands && group.means[set.column]) || [];
    const cells = new Map();
    for (const piece of pieces) {
      if (piece.x[set.axis] === undefined) continue;
      const [x, mean, sd] = [piece.x[set.axis], piece.mean, piece.sd].map(list);
      x.forEach((at, place) => cells.set(at, `${show(mean[place])} ± ${show(sd[place])}`));
    }
    if (cells.size) columns.push([group.label, cells]);
    for (const run of pieces.length ? group.runs.filter((one) => !isDone(one)) : group.runs) {
      const { x, y } = pointsOf(run, set.axis, set.column);
      if (x.length) columns.push([`${group.label} seed ${run.seed}`, new Map(x.map((at, i) => [at, show(y[i])]))]);
    }
  }
  const places = [...new Set(columns.flatMap(([, cells]) => [...cells.keys()]))].sort((a, b) => a - b);
  const rows = places.map((at) => [show(at), ...columns.map(([, cells]) => cells.get(at) ?? "")]);
  table(box, [curves.axes[set.axis], ...columns.map(([title]) => title)], rows);
}

if (curves) {
  for (const panel of ["first", "second"].filter((name) => byId(`plot-${name}`))) {
    charts[panel] = () => drawPanel(panel);
    byId(`${panel}-column`).addEventListener("change", () => {
      byId(`${panel}-scale`).value = curves.columns[chosen(`${panel}-column`)].log ? "log" : "linear";
      drawPanel(panel);
    });
    byId(`${panel}-scale`).addEventListener("change", () => drawPanel(panel));
    byId(`table-${panel}`).closest("details").addEventListener("toggle", () => fillTable(panel));
  }
  for (const name of ["against", "x-scale", "seeds", "smoothing"]) {
    byId(`curves-${name}`).addEventListener("change", () => ["first", "second"].forEach(draw));
  }
}
