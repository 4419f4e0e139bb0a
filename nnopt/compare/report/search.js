// Searches: the front of two objectives, best of n trials, sensitivity to the learning rate, every trial as a line over its keys.

const NEAR_SHARE = 0.5; // of the trials that have a value lie within the axis where it is cut
const ROOM = 92; // CSS pixels that an upright axis of a key needs
const SPREAD = 0.07; // of the trials with the same choice: the better ones stand higher

// Where a trial stands that does not set a key, or has no value.
const nowhere = (isUpright) => (isUpright ? -0.1 : -0.16);

// The value that so large a share of the trials with one reach.
function reached(values, share, higher) {
  const order = values.filter(finite).sort((a, b) => (higher ? b - a : a - b));
  return order.length ? order[Math.min(Math.floor(share * order.length), order.length - 1)] : null;
}

// Limits of the axis of values: of all that is drawn, or from the best to what half of the trials reach.
function heights(search, groups, values, isNear) {
  if (!isNear) return limits(values, "linear");
  const half = groups.map((one) => reached(one.trials.value, NEAR_SHARE, search.higher)).filter(finite);
  const edge = search.higher ? Math.min(...half) : Math.max(...half);
  const kept = values.filter((value) => finite(value) && (search.higher ? value >= edge : value <= edge));
  return limits([...kept, edge], "linear") || limits(values, "linear");
}

function drawBest(search, name) {
  const price = chosen(`${name}-axis`);
  const line = chosen(`${name}-line`);
  const known = search.groups.filter((one) => one.found);
  const shown = ticked(name, known);
  const isMean = line === "expected";
  const traces = [];
  for (const one of shown) {
    const { [price]: x, trials, low, high } = one.found;
    const y = one.found[line];
    const alpha = Math.max(0.07, 0.24 / shown.length);
    if (isMean) traces.push({ ...band(one, x, low, high), fillcolor: faded(lineColour(one), alpha) });
    const words = y.map((value, at) => {
      const range = isMean ? `<br>nine of ten: ${show(low[at])} to ${show(high[at])}` : "";
      const cost = `${trials[at]} trial${trials[at] === 1 ? "" : "s"}, ${show(one.found.seconds[at])} s`;
      return `${plain(one.label)}<br>${cost}<br>${plain(search.metric)} ${show(value)}${range}`;
    });
    traces.push({
      type: "scatter",
      mode: "lines+markers",
      x,
      y,
      line: { color: lineColour(one), dash: one.dash, width: 2, shape: isMean ? "linear" : "hv" },
      marker: { color: lineColour(one), symbol: one.marker, size: 7, maxdisplayed: MOST_MARKERS },
      customdata: words,
      hovertemplate: "%{customdata}<extra></extra>",
      meta: line,
    });
  }
  const values = shown.flatMap((one) => (isMean ? [...one.found.low, ...one.found.high] : one.found.so_far));
  const range = heights(search, shown, values, chosen(`${name}-height`) === "near");
  const title = price === "trials" ? "trials" : "training seconds of all trials";
  plot(name, traces, axis(title, "linear", { rangemode: "tozero" }), valueAxis(search, range));
  const ends = shown.slice(0, 8).map((one) => {
    const n = one.found.trials.length - 1;
    return `${one.label} ${show(one.found[line][n])} after ${one.found.trials[n]}`;
  });
  const said = isMean ? `Expected best ${search.metric} of n trials` : `Best ${search.metric} so far after n trials`;
  caption(name, `${said}, against ${title}: ${ends.join(", ") || "no variant"}.`);
}

const valueAxis = (search, range) => axis(search.metric, "linear", range ? { range, autorange: false } : {});

function drawRate(search, name) {
  const shown = ticked(name, search.groups.filter((one) => one.rate));
  const values = shown.flatMap((one) => one.rate.points.value);
  const range = heights(search, shown, values, chosen(`${name}-height`) === "near");
  const edge = (range || [0, 1])[search.higher ? 0 : 1];
  const hasPoints = chosen(`${name}-points`) === "points";
  const traces = [];
  for (const one of shown) {
    const { points, curve, good } = one.rate;
    const word = (at) => `${plain(one.label)}, trial ${points.trial[at]}<br>${plain(settingOf(one, points.trial[at]))}<br>`;
    const places = points.rate.map((_, at) => at);
    const [done, lost] = [places.filter((at) => finite(points.value[at])), places.filter((at) => !finite(points.value[at]))];
    const marks = (kept, y, text, more) => ({
      type: "scatter",
      mode: "markers",
      x: kept.map((at) => points.rate[at]),
      y,
      text,
      hoverinfo: "text",
      ...more,
    });
    const width = { type: "scatter", mode: "lines", x: good.x, y: good.y, hoverinfo: "skip", meta: "good" };
    traces.push({ ...width, line: { color: faded(lineColour(one), 0.35), width: 11 } });
    if (hasPoints) {
      const text = done.map((at) => `${word(at)}${plain(search.metric)} ${show(points.value[at])}`);
      const look = { marker: { color: faded(lineColour(one), 0.6), symbol: one.marker, size: 6 }, meta: "trials" };
      traces.push(marks(done, done.map((at) => points.value[at]), text, look));
    }
    const end = curve.rate.map((_, at) => at).filter((at) => finite(curve.value[at]));
    traces.push({
      type: "scatter",
      mode: "lines+markers",
      x: end.map((at) => curve.rate[at]),
      y: end.map((at) => curve.value[at]),
      line: { color: lineColour(one), dash: one.dash, width: 2 },
      marker: { color: lineColour(one), symbol: one.marker, size: 8 },
      customdata: end.map((at) => `${word(points.trial.indexOf(curve.trial[at]))}${plain(search.metric)} ${show(curve.value[at])}`),
      hovertemplate: "%{customdata}<extra></extra>",
      meta: "curve",
    });
    const cross = { symbol: "x-thin", size: 10, line: { width: 2, color: lineColour(one) } };
    const text = lost.map((at) => `${word(at)}diverged`);
    traces.push(marks(lost, lost.map(() => edge), text, { marker: cross, cliponaxis: false, meta: "lost" }));
  }
  plot(name, traces, axis("learning rate", "log", {}), valueAxis(search, range));
  const said = shown.slice(0, 8).map((one) => `${one.label}: ${one.rate.sentence}`);
  caption(name, `${search.metric} against the learning rate. ${said.join("; ") || "No variant is shown"}.`);
}

function drawFront(search, name) {
  const shown = ticked(name, search.groups.filter((one) => one.front));
  const ends = shown.flatMap(({ front }) => [...front.members.value, ...front.members.low, ...front.members.high]);
  const values = [...shown.flatMap((one) => one.front.trials.value), ...ends];
  const near = limits(ends, "linear");
  const range = chosen(`${name}-height`) === "near" && near ? near : heights(search, shown, values, false);
  const traces = [];
  for (const one of shown) {
    const { trials, members } = one.front;
    const word = (number) => `${plain(one.label)}, trial ${number}<br>${plain(settingOf(one, number))}`;
    const told = (set, at) => `${word(set.number[at])}<br>${plain(search.against)} ${show(set.cost[at])}<br>${plain(search.metric)} ${show(set.value[at])}`;
    const line = { color: lineColour(one), dash: one.dash, width: 2, shape: "hv" };
    const dots = (set, more) => ({ type: "scatter", x: set.cost, y: set.value, text: set.number.map((_, at) => told(set, at)), hoverinfo: "text", ...more });
    traces.push(dots(trials, { mode: "markers", marker: { color: faded(lineColour(one), 0.4), size: 6 }, meta: "trials" }));
    traces.push(dots(members, { mode: "lines+markers", line, marker: { color: lineColour(one), symbol: one.marker, size: 8 }, meta: "front" }));
    const again = members.number.map((_, at) => at).filter((at) => finite(members.again[at]));
    const reach = (end) => again.map((at) => (finite(members[end][at]) ? Math.abs(members[end][at] - members.again[at]) : 0));
    traces.push({
      type: "scatter",
      mode: "markers",
      x: again.map((at) => members.cost[at]),
      y: again.map((at) => members.again[at]),
      error_y: { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), color: lineColour(one) },
      marker: { color: lineColour(one), symbol: "diamond", size: 10 },
      text: again.map((at) => `${plain(members.name[at])} on fresh seeds<br>${plain(search.metric)} ${show(members.again[at])}`),
      hoverinfo: "text",
      meta: "again",
    });
  }
  plot(name, traces, axis(search.against, chosen(`${name}-scale`), {}), valueAxis(search, range));
  const best = shown.slice(0, 8).map(({ label, front }) => `${label} ${show(front.members.value.at(-1))} at ${show(front.members.cost.at(-1))}`);
  caption(name, `The front of ${search.metric} against ${search.against}; its best: ${best.join(", ") || "no variant"}.`);
}

// What a trial set, in words: `optimizer.lr 0.1, model.activation relu`.
function settingOf(one, number) {
  const at = one.trials.number.indexOf(number);
  return one.keys
    .map((key, place) => [key.name, one.trials.texts[place][at]])
    .filter(([, text]) => text !== null)
    .map(([key, text]) => `${key} ${text}`)
    .join(", ");
}

// The trials that are set off, and the best of them.
function strongOnes(one, which, higher) {
  const { value } = one.trials;
  const places = value.map((_, at) => at);
  const done = places.filter((at) => finite(value[at])).sort((a, b) => (higher ? value[b] - value[a] : value[a] - value[b]));
  const best = done.length ? done[0] : null;
  if (which === "lost") return { strong: places.filter((at) => !finite(value[at])), best };
  return { strong: done.slice(0, Math.max(1, Math.round(Number(which) * done.length))), best };
}

function drawKeys(search, name) {
  const one = search.groups[Number(chosen(`${name}-variant`))];
  const { trials } = one;
  const { strong, best } = strongOnes(one, chosen(`${name}-strong`), search.higher);
  const known = trials.value.filter(finite);
  const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  const place = (value) => (finite(value) ? (high > low ? (value - low) / (high - low) : 0.5) : null);
  const axes = [...one.keys, { name: search.metric, marks: known.length ? [[0, show(low)], [1, show(high)]] : [] }];
  const box = byId(`plot-${name}`);
  const isUpright = (printing ? PRINT_WIDTH : box.clientWidth) >= ROOM * axes.length;
  const quality = trials.value.map(place);
  const apart = quality.map((at) => SPREAD * ((search.higher ? at : 1 - at) - 0.5) * (at === null ? 0 : 1));
  const spread = trials.places.map((all, key) => all.map((at, trial) => (at !== null && one.keys[key].choice ? at + apart[trial] : at)));
  const columns = [...spread, quality].map((all) => all.map((at) => (at === null ? nowhere(isUpright) : at)));
  const lines = (kept, more, meta) => {
    const made = { along: [], at: [], text: [] };
    for (const trial of kept) {
      const ending = finite(trials.value[trial]) ? `${search.metric} ${show(trials.value[trial])}` : trials.status[trial];
      const words = plain(`trial ${trials.number[trial]}: ${settingOf(one, trials.number[trial])}`).replaceAll(", ", "<br>");
      columns.forEach((column, key) => {
        made.along.push(isUpright ? key : -key);
        made.at.push(column[trial]);
        made.text.push(`${words}<br>${plain(ending)}`);
      });
      [made.along, made.at, made.text].forEach((each) => each.push(null));
    }
    const [x, y] = isUpright ? [made.along, made.at] : [made.at, made.along];
    return { type: "scatter", mode: "lines+markers", x, y, text: made.text, hoverinfo: "text", meta, ...more };
  };
  const ink = (alpha, width, size) => ({
    line: { color: faded(alpha < 0.5 ? colour("--soft-ink") : lineColour(one), alpha), width },
    marker: { color: faded(alpha < 0.5 ? colour("--soft-ink") : lineColour(one), alpha), size },
    cliponaxis: false,
  });
  const set = new Set(strong);
  const rest = trials.value.map((_, at) => at).filter((at) => !set.has(at) && at !== best);
  const traces = [
    lines(rest, ink(0.3, 1, 4), "rest"),
    lines(strong.filter((at) => at !== best), ink(0.75, 1.5, 5), "strong"),
    lines(best === null ? [] : [best], ink(1, 4, 9), "best"),
  ];
  plot(name, traces, ...keyAxes(axes, isUpright), { ...keyMarks(axes, columns, isUpright), ...(isUpright ? {} : tall(axes)) });
  const count = `${trials.number.length} trials of ${one.label}`;
  const worst = `${set.size || "none"} ${set.size > 1 ? "are" : "is"} set off`;
  const top = best === null ? "none has a value" : `the best is trial ${trials.number[best]} (${settingOf(one, trials.number[best])}; ${search.metric} ${show(trials.value[best])})`;
  caption(name, `${count}, a line each over ${axes.map((key) => key.name).join(", ")}: ${worst}; ${top}.`);
  fillTrials(search, one, name);
}

const tall = (axes) => ({ height: 70 * axes.length + 30, margin: { l: 24, r: 24, t: 30, b: 16 } });

// Axes of the plot itself without any marks: those of the keys are drawn as shapes.
function keyAxes(axes, isUpright) {
  const bare = { showgrid: false, showticklabels: false, ticks: "", zeroline: false, showline: false, fixedrange: true };
  const along = { ...bare, range: isUpright ? [-0.35, axes.length - 0.65] : [0.45 - axes.length, 0.5] };
  const across = { ...bare, range: isUpright ? [-0.2, 1.16] : [-0.24, 1.04] };
  return isUpright ? [along, across] : [across, along];
}

// A line, a name and the marks of each key.
function keyMarks(axes, columns, isUpright) {
  const [shapes, annotations] = [[], []];
  const font = { color: colour("--soft-ink"), size: BASE_FONT - 2 };
  const ground = faded(colour("--paper"), 0.8);
  axes.forEach((key, place) => {
    const along = isUpright ? place : -place;
    const ends = (low, high) => (isUpright ? { x0: along, x1: along, y0: low, y1: high } : { x0: low, x1: high, y0: along, y1: along });
    shapes.push({ type: "line", layer: "below", line: { color: colour("--soft-ink"), width: 1 }, ...ends(0, 1) });
    const name = { text: `<b>${plain(isUpright ? shortName(key.name) : key.name)}</b>`, showarrow: false };
    const bold = { color: colour("--ink"), size: BASE_FONT - 1 };
    annotations.push(
      isUpright
        ? { ...name, font: bold, x: along, y: 1.09, yanchor: "bottom" }
        : { ...name, font: bold, bgcolor: ground, x: 0, xanchor: "left", y: along, yanchor: "bottom", yshift: 8 },
    );
    const away = nowhere(isUpright);
    const named = [away, place === axes.length - 1 ? "none" : "not set"];
    const marks = columns[place].includes(away) ? [...key.marks, named] : key.marks;
    for (const [at, text] of marks) {
      const mark = { text: plain(text), showarrow: false, font, bgcolor: ground };
      const under = { x: at, xanchor: at >= 1 ? "right" : at === 0 ? "left" : "center", y: along, yanchor: "top", yshift: -4 };
      const isEnd = at <= 0 || at >= 1;
      const beside = { x: along, y: at, yanchor: isEnd ? (at >= 1 ? "bottom" : "top") : "middle", yshift: isEnd ? (at >= 1 ? 3 : -3) : 0 };
      annotations.push({ ...mark, ...(isUpright ? { ...beside, ...(isEnd ? {} : { xanchor: "left", xshift: 6 }) } : under) });
    }
  });
  return { shapes, annotations, margin: { l: 16, r: 16, t: 12, b: 16 } };
}

// The last part of a dotted name, which is what tells keys apart.
const shortName = (name) => name.split(".").slice(-1)[0];

// The table below the lines, as far as it is open: a row a trial.
function fillTrials(search, one, name) {
  const box = byId(`table-${name}`);
  if (!box.closest("details").open) return;
  const { number, status, value, texts } = one.trials;
  const rows = number.map((trial, at) => [
    String(trial),
    status[at],
    finite(value[at]) ? show(value[at]) : "",
    ...texts.map((column) => column[at] ?? ""),
  ]);
  table(box, ["trial", "status", search.metric, ...one.keys.map((key) => key.name)], rows);
}

(data.search || []).forEach((search, number) => {
  const controls = {
    front: ["scale", "height"],
    best: ["axis", "line", "height"],
    rate: ["points", "height"],
    keys: ["variant", "strong"],
  };
  const drawn = { front: drawFront, best: drawBest, rate: drawRate, keys: drawKeys };
  for (const [kind, names] of Object.entries(controls)) {
    const name = `search-${kind}-${number}`;
    if (!byId(`plot-${name}`)) continue;
    charts[name] = () => drawn[kind](search, name);
    for (const control of names) byId(`${name}-${control}`).addEventListener("change", () => draw(name));
    if (kind === "keys") byId(`table-${name}`).closest("details").addEventListener("toggle", () => draw(name));
  }
});
