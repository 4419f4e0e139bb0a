// The other charts: time to target, learning rate, cost, performance profiles.

function steps(one, x, y, words) {
  return {
    type: "scatter",
    mode: "lines+markers",
    x,
    y,
    line: { color: lineColour(one), dash: one.dash, width: 2, shape: "hv" },
    marker: { color: lineColour(one), symbol: one.marker, size: 7 },
    customdata: words,
    hovertemplate: "%{customdata}<extra></extra>",
  };
}

const shareAxis = (title) => axis(title, "linear", { range: [-0.03, 1.05], tickformat: ".0%" });
const perCent = (share) => `${Math.round(100 * share)} %`;

function drawTarget() {
  const name = chosen("target-axis");
  const title = data.target.axes[name];
  const known = ticked("target", data.target.groups).filter((one) => one.axes[name]);
  const end = Math.max(...known.flatMap((one) => one.axes[name].x), 0);
  const traces = [];
  for (const one of known) {
    const curve = one.axes[name];
    const words = curve.x.map((x, at) => `${plain(one.label)}<br>${show(x)} ${title}: ${perCent(curve.y[at])} got there`);
    traces.push(steps(one, curve.x, curve.y, words));
    traces.push({
      type: "scatter",
      mode: "markers",
      x: curve.censored_x,
      y: curve.censored_y,
      marker: { symbol: "line-ns", size: 14, line: { color: lineColour(one), width: 3 } },
      text: curve.censored_x.map((x) => `${plain(one.label)}<br>not there by ${show(x)} ${title}`),
      hoverinfo: "text",
    });
  }
  const xaxis = axis(title, "linear", { range: [-0.02 * end, 1.04 * end || 1] });
  plot("target", traces, xaxis, shareAxis("share of runs that got there"));
  const ends = known.slice(0, 8).map((one) => `${one.label} ${perCent(one.axes[name].y.at(-1))}`);
  caption("target", `Share of runs that got to ${data.target.title}, in ${title}: ${ends.join(", ")}.`);
}

function drawRates() {
  const { metric, higher, groups } = data.rates;
  const shown = ticked("rates", groups);
  const values = shown.flatMap((one) => one.points.map((point) => point.mean)).filter(finite);
  const range = limits(values, "linear") || [0, 1];
  const traces = [];
  for (const one of shown) {
    const known = one.points.filter((point) => finite(point.mean));
    const lost = one.points.filter((point) => point.lost);
    const word = (point) => `${plain(point.label)} (${plain(point.runs)} runs)<br>rate ${show(point.rate)}<br>`;
    traces.push({
      type: "scatter",
      mode: "lines+markers",
      x: known.map((point) => point.rate),
      y: known.map((point) => point.mean),
      error_y: { type: "data", array: known.map((point) => point.sd || 0), thickness: 1.5, width: 4 },
      line: { color: lineColour(one), dash: one.dash, width: 2 },
      marker: { color: lineColour(one), symbol: one.marker, size: 9 },
      customdata: known.map((point) => `${word(point)}${plain(metric)} ${show(point.mean)} ± ${show(point.sd)}`),
      hovertemplate: "%{customdata}<extra></extra>",
    });
    traces.push({
      type: "scatter",
      mode: "markers",
      x: lost.map((point) => point.rate),
      y: lost.map(() => range[higher ? 0 : 1]),
      cliponaxis: false,
      marker: { symbol: "x-thin", size: 11, line: { width: 3, color: lineColour(one) } },
      text: lost.map((point) => `${word(point)}every run diverged`),
      hoverinfo: "text",
    });
  }
  plot("rates", traces, axis("learning rate", "log", {}), axis(metric, "linear", { range, autorange: false }));
}

function drawCost() {
  const { axes, metric, higher, groups } = data.cost;
  const name = chosen("cost-axis");
  const known = ticked("cost", groups).filter((one) => finite(one.costs[name]));
  const front = known.filter((one) => one.front.includes(name)).sort((a, b) => a.costs[name] - b.costs[name]);
  const edge = {
    type: "scatter",
    mode: "lines",
    x: front.map((one) => one.costs[name]),
    y: front.map((one) => one.quality),
    line: { color: colour("--soft-ink"), width: 1, dash: "dot", shape: "hv" },
    hoverinfo: "skip",
  };
  const points = known.map((one) => {
    const best = one.front.includes(name);
    return {
      type: "scatter",
      mode: best ? "markers+text" : "markers",
      x: [one.costs[name]],
      y: [one.quality],
      error_y: { type: "data", array: [one.sd || 0], thickness: 1, width: 3, color: faded(lineColour(one), 0.6) },
      text: [plain(one.label)],
      textposition: "top center",
      textfont: { size: BASE_FONT - 1 },
      marker: {
        color: best ? lineColour(one) : colour("--paper"),
        symbol: one.marker,
        size: best ? 15 : 10,
        line: { color: best ? colour("--ink") : lineColour(one), width: 2 },
      },
      customdata: [
        `${plain(one.label)}${best ? ", on the Pareto front" : ""}<br>${plain(axes[name])} ${show(one.costs[name])}` +
          `<br>${plain(metric)} ${show(one.quality)} ± ${show(one.sd)}`,
      ],
      hovertemplate: "%{customdata}<extra></extra>",
      cliponaxis: false,
    };
  });
  const scale = chosen("cost-scale");
  const range = limits(known.map((one) => one.costs[name]), scale, 0.15);
  const sign = higher ? "more is better" : "less is better";
  plot("cost", [edge, ...points], axis(axes[name], scale, range ? { range } : {}), axis(metric, "linear", {}));
  const names = front.map((one) => one.label).join(", ") || "none";
  caption("cost", `${metric} (${sign}) against ${axes[name]}. On the Pareto front: ${names}.`);
}

function drawProfiles() {
  const traces = ticked("profiles", data.profiles.groups).map((one) => {
    const words = one.x.map((x, at) => `${plain(one.label)}<br>within ${show(x)} times the best: ${perCent(one.y[at])}`);
    return steps(one, one.x, one.y, words);
  });
  const name = data.profiles.axis.replaceAll("_", " ");
  plot("profiles", traces, axis(`${name} by those of the fastest`, "log", {}), shareAxis("share of tasks"));
}

const others = { target: drawTarget, rates: drawRates, cost: drawCost, profiles: drawProfiles };
for (const [name, drawn] of Object.entries(others)) {
  if (data[name]) charts[name] = drawn;
  for (const control of ["axis", "scale"]) {
    const box = byId(`${name}-${control}`);
    if (box) box.addEventListener("change", drawn);
  }
}
