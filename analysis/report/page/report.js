// Theme, tables that sort, charts with their controls.

const root = document.documentElement;
const themeButton = document.getElementById("theme");
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  themeButton.setAttribute("aria-pressed", String(dark));
}

setTheme(systemDark.matches);
systemDark.addEventListener("change", (event) => setTheme(event.matches));
themeButton.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));

// Tables ---------------------------------------------------------------------

function number(text) {
  const found = text.replace(/,(?=\d{3})/g, "").match(/^[^\d+-]*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
  return found ? Number(found[1]) : NaN;
}

function compare(a, b) {
  const x = number(a), y = number(b);
  if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b);
  if (Number.isNaN(x)) return 1;
  if (Number.isNaN(y)) return -1;
  return x - y || a.localeCompare(b);
}

function sortBy(heading) {
  const body = heading.closest("table").tBodies[0];
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => compare(text(a), text(b)));
  body.append(...(descending ? rows.reverse() : rows));
}

for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

// Only what scrolls is a stop of the Tab key; tables in closed parts have no width.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const part of document.querySelectorAll(".scroll")) scrolling.observe(part);

// Charts ---------------------------------------------------------------------

const specs = JSON.parse(document.getElementById("specs").textContent);
const AXIS_ROOM = 74; // pixels beside the axis, for its labels and title
const ink = "currentColor";
const config = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: ink, strokeOpacity: 0.4 },
  axis: { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink, gridColor: "#808080",
          gridOpacity: 0.2, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 12 },
  axisX: { labelFlush: false },
  axisY: { minExtent: 44 },
  legend: { labelColor: ink, titleColor: ink, titleFontWeight: "normal" },
};

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.choices = specs[figure.dataset.chart];
    this.select = figure.querySelector("select");
    this.select?.addEventListener("change", () => this.draw());
    for (const set of figure.querySelectorAll("fieldset")) {
      set.addEventListener("change", () => this.apply(set));
    }
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(Number(button.dataset.zoom)));
    }
    for (const button of figure.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.move(Number(button.dataset.move)));
    }
  }

  // One drawing after the other, so that the view is the one on the page.
  draw() {
    this.drawing = (this.drawing ?? Promise.resolve()).then(() => this.drawNow());
    return this.drawing;
  }

  async drawNow() {
    this.width = this.plot.clientWidth;
    const choice = this.select?.value ?? "";
    const spec = structuredClone(this.choices[choice]);
    const kept = choice === this.choice ? this.view?.getState().signals.zoom_low : null;
    this.choice = choice;
    if (spec.vconcat) {
      for (const part of spec.vconcat) part.width = Math.max(this.width - AXIS_ROOM, 120);
    } else {
      Object.assign(spec, { width: this.width, autosize: { type: "fit-x", contains: "padding" } });
    }
    this.view?.finalize();
    const options = { actions: false, renderer: "svg", config, logLevel: 1 };
    this.view = (await window.vegaEmbed(this.plot, spec, options)).view;
    this.plot.querySelector("svg").setAttribute("aria-hidden", "true");
    for (const set of this.figure.querySelectorAll("fieldset")) await this.apply(set);
    if (kept) await this.view.signal("zoom_low", kept).runAsync();
    this.figure.dataset.drawn = "true";
  }

  async apply(set) {
    if (!this.view) return;
    const boxes = [...set.querySelectorAll("input:checked")];
    const values = boxes.flatMap((box) => box.value.split(" "));
    await this.view.signal(set.dataset.signal, values).runAsync();
  }

  limits() {
    return this.choices[this.choice].usermeta.limits;
  }

  // By a part of what is shown, within the whole.
  async move(part) {
    if (!this.view) return;
    const all = this.limits();
    const [low, high] = this.view.signal("zoom_low") ?? all;
    const step = Math.min(Math.max(part * (high - low), all[0] - low), all[1] - high);
    await this.view.signal("zoom_low", [low + step, high + step]).runAsync();
  }

  async zoom(factor) {
    if (!this.view) return;
    const all = this.limits();
    const [low, high] = this.view.signal("zoom_low") ?? all;
    const middle = (low + high) / 2, half = ((high - low) / 2) * factor;
    const chosen = factor === 0 ? null : [Math.max(middle - half, all[0]), Math.min(middle + half, all[1])];
    await this.view.signal("zoom_low", chosen).runAsync();
  }
}

const charts = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) {
      seen.unobserve(target);
      charts.get(target).draw();
    }
  }
}, { rootMargin: "600px" });

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = charts.get(target.parentElement);
    if (chart.view && Math.abs(target.clientWidth - chart.width) > 4) chart.draw();
  }
});

for (const figure of document.querySelectorAll("figure.chart")) {
  const chart = new Chart(figure);
  charts.set(figure, chart);
  seen.observe(figure);
  resized.observe(chart.plot);
}

window.addEventListener("beforeprint", () => charts.forEach((chart) => chart.drawing ?? chart.draw()));
