// Loads Plotly on the first chart, and dresses each figure in the tokens of the page.

// Plotly would write the style sheet of its maps into the page, which the policy forbids; it does not where
// an element of this id is there already. None of our charts is a map.
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

// Of an axis of time: as exact as its steps are, and the day only where days are shown.
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const TIMES = [
  { dtickrange: [null, MINUTE_MS - 1], value: "%H:%M:%S" }, { dtickrange: [MINUTE_MS, DAY_MS - 1], value: "%H:%M" },
  { dtickrange: [DAY_MS, null], value: "%Y-%m-%d" },
];

/** @type {Promise<any> | undefined} */
let loading;

function plotly() {
  const { plotly: url } = document.documentElement.dataset;
  loading ??= new Promise((resolve, reject) => {
    const guard = document.createElement("meta");
    guard.id = MAP_STYLES;
    const script = document.createElement("script");
    script.src = url ?? "";
    script.onload = () => resolve(/** @type {any} */ (window).Plotly);
    script.onerror = () => { loading = undefined; reject(new Error("plotly.min.js could not be loaded")); };
    document.head.append(guard, script);
  });
  return loading;
}

/** The colours that tokens have here and now, as Plotly reads them. @param {HTMLElement} element */
function colours(element) {
  const probe = document.createElement("span");
  element.append(probe);
  const read = (/** @type {string} */ name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    text: read("color-soft"), faint: read("color-faint"), line: read("color-line"), surface: read("color-raised"),
    strong: read("color-text"), series: [1, 2, 3, 4, 5, 6].map((n) => read(`chart-${n}`)),
    heat: [0, 1, 2, 3, 4, 5, 6, 7].map((n) => read(`heat-${n}`)),
  };
  probe.remove();
  return found;
}

/** Plotly's template of this page. @param {HTMLElement} element */
function template(element) {
  const colour = colours(element);
  const style = getComputedStyle(element);
  const axis = {
    gridcolor: colour.line, linecolor: colour.line, zerolinecolor: colour.line, tickcolor: colour.line, automargin: true,
    tickfont: { color: colour.faint, size: 11 }, title: { font: { color: colour.faint, size: 11 }, standoff: 8 },
    zeroline: false,
  };
  return {
    layout: {
      colorway: colour.series, paper_bgcolor: "transparent", plot_bgcolor: "transparent", hovermode: "x unified",
      font: { family: style.fontFamily, size: 12, color: colour.text }, margin: { l: 44, r: 12, t: 8, b: 32 },
      colorscale: { sequential: colour.heat.map((one, at) => [at / 7, one]) },
      hoverlabel: { bgcolor: colour.surface, bordercolor: colour.line, font: { color: colour.strong, size: 12 } },
      legend: { orientation: "h", y: 1.08, x: 0, yanchor: "bottom", font: { size: 11, color: colour.text } },
      xaxis: { ...axis, showgrid: false, ticks: "outside", ticklen: 4 }, yaxis: axis,
    },
  };
}

/** Draws, and gives what takes the drawing away.
 * @param {HTMLElement} element @param {{data: any[], layout?: any}} figure @returns {Promise<() => void>} */
export async function draw(element, figure) {
  const Plotly = await plotly();
  const timed = typeof figure.data[0]?.x?.[0] === "string";
  const xaxis = { ...figure.layout?.xaxis, ...(timed && { tickformatstops: TIMES }) };
  const layout = { ...figure.layout, xaxis, template: template(element), autosize: true, uirevision: "kept", dragmode: "zoom" };
  await Plotly.react(element, structuredClone(figure.data), layout,
    { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" });
  const drawn = /** @type {any} */ (element);
  drawn.removeAllListeners("plotly_click"); // of an earlier drawing
  drawn.on("plotly_click", (/** @type {any} */ event) => {
    element.dispatchEvent(new CustomEvent("regatta:point", { detail: event.points[0]?.customdata }));
  });
  return () => Plotly.purge(element);
}
