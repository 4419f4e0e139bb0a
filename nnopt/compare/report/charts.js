"use strict";
// What all charts share: colours of the page, axes, and when they are drawn anew.

const data = JSON.parse(document.getElementById("data").textContent);
const charts = {}; // name -> function that draws the chart and says in a sentence what it shows
const PRINT_WIDTH = 640; // CSS pixels that fit on A4 and Letter with margins
const BASE_FONT = 13;
let printing = false;

const byId = (name) => document.getElementById(name);
const chosen = (name) => byId(name).value;
const list = (place) => data.lists[place];
const finite = (value) => value !== null && Number.isFinite(value);

// Plotly reads some HTML in its texts; names must stay names.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function show(value) {
  if (!finite(value)) return "no value";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 ? String(Number(value.toPrecision(5))) : value.toExponential(2);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const lineColour = (one) => colour(`--line-${one.colour}`);

function faded(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// The members of a chart that are ticked, each with its place in the legend.
function ticked(chart, members) {
  const boxes = [...document.querySelectorAll(`input[data-chart="${chart}"]`)];
  return members.filter((_, place) => !boxes[place] || boxes[place].checked);
}

function axis(title, scale, more) {
  return {
    title: { text: plain(title), standoff: 8 },
    type: scale,
    gridcolor: colour("--rule"),
    linecolor: colour("--soft-ink"),
    zeroline: false,
    automargin: true,
    exponentformat: "power",
    ...more,
  };
}

// Ticks of a logarithmic axis: powers of ten, where there are few also 2 and 5, or all digits, between them.
function logTicks(one, values) {
  if (one.type !== "log") return {};
  const [low, high] = one.range || limits(values, "log") || [0, 1];
  const wide = high - low;
  return { dtick: wide > 2 ? Math.ceil(wide / 8) : wide > 0.7 ? "D2" : "D1", tickformat: "~g" };
}

function plot(name, traces, xaxis, yaxis, more) {
  const box = byId(`plot-${name}`);
  const width = printing ? PRINT_WIDTH : box.clientWidth;
  const layout = {
    width,
    height: Math.round(Math.min(Math.max(width * 0.6, 280), 460)),
    margin: { l: 60, r: 16, t: 12, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: BASE_FONT, color: colour("--ink") },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: {
      bgcolor: colour("--shade"),
      bordercolor: colour("--soft-ink"),
      font: { color: colour("--ink"), size: BASE_FONT },
      align: "left",
    },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...xaxis, ...logTicks(xaxis, traces.flatMap((trace) => trace.x)) },
    yaxis: { ...yaxis, ...logTicks(yaxis, traces.flatMap((trace) => trace.y)) },
    ...more,
  };
  const config = { displayModeBar: false, displaylogo: false, showTips: false, responsive: false, scrollZoom: false };
  Plotly.react(box, traces, layout, config);
}

function caption(name, text) {
  byId(`plot-${name}`).setAttribute("aria-label", text);
  byId(`caption-${name}`).textContent = text;
}

// Limits of an axis that hold the values, with a part to spare; on a logarithmic axis powers of ten.
function limits(values, scale, part = 0.05) {
  const known = values.filter((value) => finite(value) && (scale !== "log" || value > 0));
  if (!known.length) return undefined;
  let [low, high] = [Infinity, -Infinity];
  for (const value of known) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (scale === "log") [low, high] = [Math.log10(low), Math.log10(high)];
  const margin = part * (high - low) || (scale === "log" ? 0.3 : 0.05 * Math.abs(high) || 1);
  return [low - margin, high + margin];
}

function draw(name) {
  if (charts[name]) charts[name]();
}

function drawAll() {
  Object.keys(charts).forEach(draw);
}

function table(box, titles, rows) {
  const made = document.createElement("table");
  const line = (parent, cells, kind) => {
    const row = parent.appendChild(document.createElement("tr"));
    cells.forEach((text, place) => {
      const cell = row.appendChild(document.createElement(place && kind === "td" ? "td" : "th"));
      cell.textContent = text;
      cell.scope = kind === "th" ? "col" : "row";
      if (place) cell.className = "number";
    });
  };
  line(made.appendChild(document.createElement("thead")), titles, "th");
  const body = made.appendChild(document.createElement("tbody"));
  rows.forEach((cells) => line(body, cells, "td"));
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "The data as a table");
  scroll.append(made);
  box.replaceChildren(scroll);
}
