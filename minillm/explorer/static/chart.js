// Bars, lines and points, as SVG that follows the width of its place.

import {el, svg, number, textWidth, fitted} from "./dom.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {announce} from "./announce.js";
import {t} from "./messages.js";

// A chart is an <svg> in a box; draw(width) -> {height, children}. It is drawn again when the width changes.
function chart(draw, o, saving) {
  const picture = svg("svg", {class: "chart", role: "group", "aria-label": o.ariaLabel || o.name || "chart"});
  const box = el("div", {class: "chart-box"}, picture);
  let width = 0;
  function redraw() {
    width = Math.max(220, Math.floor(box.clientWidth || 480));
    const {height, children} = draw(width);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    picture.replaceChildren(...children.flat(Infinity).filter(Boolean));
  }
  new ResizeObserver(() => {
    if (Math.max(220, Math.floor(box.clientWidth)) !== width) redraw();
  }).observe(box);
  redraw();
  const whole = saveable(box, {name: o.name || "chart", svg: () => svgText(picture), png: () => svgPicture(picture), ...saving});
  whole.update = changes => {
    Object.assign(o, changes);
    redraw();
  };
  return whole;
}

function choosable(element, onclick, label) {
  if (!onclick) return element;
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", label);
  element.classList.add("choosable");
  element.addEventListener("click", onclick);
  element.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onclick();
    }
  });
  return element;
}

// Horizontal bars. o: {items: [{label, value, color?, title?, text?}], signed, limits: [lo, hi], onclick(index), name, ariaLabel, digits}
// text: what stands at the bar's end instead of the value
export function bars(o) {
  const LINE = 22;
  return chart(width => {
    const values = o.items.map(each => each.value).filter(Number.isFinite);
    let [lo, hi] = o.limits || [Math.min(0, ...values), Math.max(0, ...values)];
    if (lo === hi) hi = lo + 1;
    const longest = Math.max(15, ...o.items.map(each => textWidth(each.label)));
    const left = Math.min(width * 0.4, 12 + longest), right = 74;
    const x = value => left + ((Math.max(lo, Math.min(hi, value)) - lo) / (hi - lo)) * (width - left - right);
    const children = o.items.map((item, i) => {
      const y = i * LINE, from = Math.min(x(0), x(item.value)), size = Math.abs(x(item.value) - x(0));
      const kind = item.value < 0 ? "bar less" : lo < 0 ? "bar more" : "bar";
      const shown = item.text ?? number(item.value, o.digits ?? 4);
      const short = fitted(item.label, Math.max(24, left - 11));
      const line = svg("g", {class: "bar-line"}, svg("title", {}, item.title || `${item.label}: ${shown}`),
        svg("rect", {class: "bar-back", x: 0, y, width, height: LINE}),
        svg("text", {class: "bar-label", x: left - 8, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"}, short),
        svg("rect", {class: kind, x: from, y: y + 4, width: Math.max(size, 1), height: LINE - 8, rx: 2, style: item.color ? {fill: item.color} : {}}),
        svg("text", {class: "bar-value", x: Math.max(x(item.value), x(0)) + 5, y: y + LINE / 2, "dominant-baseline": "central"}, shown));
      return choosable(line, o.onclick && (() => o.onclick(i)), item.title || `${item.label}: ${shown}`);
    });
    if (lo < 0) children.push(svg("line", {class: "axis", x1: x(0), x2: x(0), y1: 0, y2: o.items.length * LINE}));
    return {height: Math.max(LINE, o.items.length * LINE), children};
  }, o, {
    json: () => o.items.map(({label, value}) => ({label, value})),
    rows: () => [[t("shell.label"), t("shell.value")], ...o.items.map(each => [each.label, each.value])],
  });
}

export const SERIES = ["var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)", "var(--series-6)"];

const tickText = x => number(x, 3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

// whole: only whole numbers, such as layers and steps
function ticks(lo, hi, count, whole = false) {
  const raw = Math.max((hi - lo) / Math.max(1, count), whole ? 1 : 0), power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 5, 10].map(k => k * power).find(each => each >= raw) || raw || 1;
  const found = [];
  for (let x = Math.ceil(lo / step) * step; x <= hi + step * 1e-6 && found.length < 20; x += step) found.push(Math.abs(x) < step * 1e-6 ? 0 : x);
  return found;
}

function frame(width, height, [x0, x1], [y0, y1], o, whole = false) {
  const left = 58, right = 14, top = 10, bottom = 38;
  const x = value => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - right);
  const y = value => height - bottom - ((value - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const parts = [
    ticks(y0, y1, 4).map(value => [svg("line", {class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value)}),
      svg("text", {class: "tick", x: left - 6, y: y(value), "text-anchor": "end", "dominant-baseline": "central"}, tickText(value))]),
    ticks(x0, x1, Math.min(8, width / 90), whole).map(value => svg("text", {class: "tick", x: x(value), y: height - bottom + 15, "text-anchor": "middle"}, tickText(value))),
    svg("line", {class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom}),
    svg("text", {class: "tick", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle"}, o.xLabel || ""),
    svg("text", {class: "tick", transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, o.yLabel || ""),
  ];
  return {x, y, parts, left, right, top, bottom};
}

function range(values, limits) {
  if (limits) return limits;
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return [0, 1];
  const lo = finite.reduce((a, b) => Math.min(a, b)), hi = finite.reduce((a, b) => Math.max(a, b));
  return lo === hi ? [lo - 0.5, hi + 0.5] : [lo, hi];
}

// o: {series: [{label, x: [...], y: [...], color?}], xLabel, yLabel, xLimits, yLimits, height, marks: [{x, label}], onclick(x), name, ariaLabel, points}
export function lines(o) {
  const legend = el("div", {class: "legend"});
  const figure = chart(width => {
    const height = o.height || 240;
    const xs = o.series.flatMap(each => Array.from(each.x)), ys = o.series.flatMap(each => Array.from(each.y));
    const f = frame(width, height, range(xs, o.xLimits), range(ys, o.yLimits), o, xs.every(Number.isInteger));
    const drawn = o.series.map((each, k) => {
      let path = "", pen = "M";
      for (let i = 0; i < each.x.length; i++) {
        if (!Number.isFinite(each.y[i])) {
          pen = "M";
          continue;
        }
        path += `${pen}${f.x(each.x[i]).toFixed(1)} ${f.y(each.y[i]).toFixed(1)}`;
        pen = "L";
      }
      const stroke = each.color || SERIES[k % SERIES.length];
      const dots = (o.points || each.x.length < 2) ? Array.from(each.x, (value, i) => Number.isFinite(each.y[i]) &&
        svg("circle", {cx: f.x(value), cy: f.y(each.y[i]), r: 3, style: {fill: stroke}}, svg("title", {}, `${each.label}: ${number(value)}, ${number(each.y[i])}`))) : [];
      return [svg("path", {class: "line", d: path, style: {stroke}}, svg("title", {}, each.label)), dots];
    });
    const marks = (o.marks || []).map(mark => [svg("line", {class: "mark", x1: f.x(mark.x), x2: f.x(mark.x), y1: f.top, y2: height - f.bottom}),
      mark.label && svg("text", {class: "tick", x: f.x(mark.x) + 4, y: f.top + 9}, mark.label)]);
    const sense = o.onclick && svg("rect", {class: "sense", x: f.left, y: f.top, width: Math.max(0, width - f.left - f.right), height: height - f.top - f.bottom,
      onclick: event => {
        const at = event.currentTarget.getBoundingClientRect();
        const [lo, hi] = range(xs, o.xLimits);
        o.onclick(lo + ((event.clientX - at.left) / at.width) * (hi - lo));
      }});
    legend.replaceChildren(...(o.series.length > 1 ? o.series.map((each, k) => {
      const swatch = el("span", {class: "swatch"});
      swatch.style.background = each.color || SERIES[k % SERIES.length];
      return el("span", {class: "legend-item"}, swatch, each.label);
    }) : []));
    return {height, children: [...f.parts, ...drawn, ...marks, sense]};
  }, o, {
    json: () => o.series.map(({label, x, y}) => ({label, x: Array.from(x), y: Array.from(y)})),
    rows: () => [[t("shell.series"), o.xLabel || "x", o.yLabel || "y"],
      ...o.series.flatMap(each => Array.from(each.x, (value, i) => [each.label, value, each.y[i]]))],
  });
  figure.append(legend);
  return figure;
}

// o: {points: [{x, y, label, color?}], xLabel, yLabel, height, onclick(index), diagonal, name, ariaLabel}
export function scatter(o) {
  return chart(width => {
    const height = o.height || Math.min(340, width);
    const f = frame(width, height, range(o.points.map(p => p.x), o.xLimits), range(o.points.map(p => p.y), o.yLimits), o);
    const [lo, hi] = range(o.points.map(p => p.x), o.xLimits);
    const diagonal = o.diagonal && svg("line", {class: "gridline", x1: f.x(lo), y1: f.y(lo), x2: f.x(hi), y2: f.y(hi)});
    const dots = o.points.map((point, i) => {
      const said = `${point.label}: ${number(point.x)}, ${number(point.y)}`;
      const dot = svg("circle", {class: "dot", cx: f.x(point.x), cy: f.y(point.y), r: 3.5, style: point.color ? {fill: point.color} : {},
        onfocus: () => announce(said)}, svg("title", {}, said));
      return choosable(dot, o.onclick && (() => o.onclick(i)), said);
    });
    const names = o.labels ? o.points.map(point => svg("text", {class: "tick", x: f.x(point.x) + 5, y: f.y(point.y) - 4}, point.label)) : [];
    return {height, children: [...f.parts, diagonal, ...dots, ...names]};
  }, o, {
    json: () => o.points.map(({label, x, y}) => ({label, x, y})),
    rows: () => [[t("shell.label"), o.xLabel || "x", o.yLabel || "y"], ...o.points.map(p => [p.label, p.x, p.y])],
  });
}
