// The page itself: sorting, matrices, and drawing anew for another width, colour scheme or paper.

document.documentElement.classList.add("js");

const sortKey = (cell) => (cell.dataset.sort === undefined ? null : Number(cell.dataset.sort));

// Rises, then falls; what has no number stays at the end.
function sortTable(head) {
  const place = [...head.parentNode.children].indexOf(head);
  const falls = head.getAttribute("aria-sort") === "ascending";
  const body = head.closest("table").tBodies[0];
  const compare = (one, two) => {
    const [a, b] = [one.cells[place], two.cells[place]];
    const [x, y] = [sortKey(a), sortKey(b)];
    if (x !== null && y !== null) return falls ? y - x : x - y;
    if (x !== null || y !== null) return x !== null ? -1 : 1;
    const order = a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    return falls ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
  for (const other of head.parentNode.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortTable(button.closest("th")));
}

// Of the blocks of a section of which one is shown at a time, that which its list names.
for (const box of document.querySelectorAll("select")) {
  const blocks = [...box.options].map((option) => byId(option.value));
  if (!blocks.every((block) => block && block.classList.contains("matrix"))) continue;
  const show = () => blocks.forEach((block) => block.classList.toggle("away", block.id !== box.value));
  box.addEventListener("change", show);
  show();
}

for (const box of document.querySelectorAll(".legend input")) {
  box.addEventListener("change", () => {
    const name = box.dataset.chart;
    (name === "curves" ? ["first", "second"] : [name]).forEach(draw);
  });
}

for (const button of document.querySelectorAll("button[data-reset]")) {
  button.addEventListener("click", () => {
    Plotly.purge(`plot-${button.dataset.reset}`);
    draw(button.dataset.reset);
  });
}

for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", () => {
    const box = byId(`plot-${button.dataset.save}`);
    const size = { width: box.clientWidth, height: box.clientHeight };
    Plotly.downloadImage(box, { format: "svg", filename: `nnopt-${button.dataset.save}`, ...size });
  });
}

// On paper: light colours (the style sheet's), a width that fits, tables of charts opened and closed again.
let opened = [];
function paper(isOn) {
  if (isOn === printing) return;
  printing = isOn;
  document.documentElement.classList.toggle("paper", isOn);
  if (isOn) {
    opened = [...document.querySelectorAll("details:not([open]):not(.filled-by-script)")];
    opened.forEach((one) => (one.open = true));
  } else {
    opened.forEach((one) => (one.open = false));
  }
  drawAll();
}
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
matchMedia("print").addEventListener("change", (event) => paper(event.matches));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

let width = document.documentElement.clientWidth;
new ResizeObserver(() => {
  const now = document.documentElement.clientWidth;
  if (now === width || printing) return;
  width = now;
  drawAll();
}).observe(document.documentElement);

drawAll();
document.documentElement.dataset.drawn = "yes";
