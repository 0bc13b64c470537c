// One value of a run: statistics, its numbers as a heat map beside its gradient's, the line that made
// it, and one number: from which others it was computed, and its finite difference.

import {el, number, table} from "./dom.js";
import {t} from "./messages.js";
import {button, select} from "./controls.js";
import {heatMap} from "./heatmap.js";
import {shapeText} from "./graph-figure.js";

const NAMES = ["min", "max", "mean", "std", "norm", "zeros", "nan", "infinite"];
const STEPS = ["1e-2", "1e-3", "1e-4", "1e-5", "1e-6"];

// context: of the view;  graph: its answer;  value: a number of a value;  state: {matrix, index, onindex(index)}
// -> Promise of an element
export async function valuePanel(context, graph, value, options) {
  const path = graph.values.path[value];
  const box = el("div", {class: "value-body"});
  const numberBox = el("div", {class: "number-box", "aria-live": "polite"});
  let found = null, row = 0, column = 0, matrix = options.matrix || 0, index = options.index;

  async function load() {
    found = await fetchValue(context, graph, value, {matrix, row, column});
    draw();
  }

  function draw() {
    const shape = found.shape, leading = shape.slice(0, -2);
    const controls = [];
    if (leading.reduce((a, b) => a * b, 1) > 1) {
      const axes = graph.values.axes[value].slice(0, -2).map((axis, k) => axis || `axis ${k}`);
      const count = found.matrices[0];
      controls.push(select(t("graph.matrix", {axes: axes.join(", ")}), Array.from({length: Math.min(count, 256)}, (_, m) =>
        ({value: m, label: `[${unravel(m, leading).join(", ")}]`})), matrix, chosen => {
        matrix = Number(chosen);
        row = column = 0;
        options.onmatrix(matrix);
        load();
      }));
    }
    const [, rows, columns] = found.matrices;
    if (found.values && (rows > 256 || columns > 256)) {
      controls.push(el("span", {class: "facts"}, t("graph.window", {r0: row, r1: Math.min(rows, row + 256) - 1, c0: column, c1: Math.min(columns, column + 256) - 1})),
        rows > 256 && pager(t("graph.rows"), row, rows, at => { row = at; load(); }),
        columns > 256 && pager(t("graph.columns"), column, columns, at => { column = at; load(); }));
    }
    box.replaceChildren(statisticsTable(found, path), el("div", {class: "row"}, controls), pictures());
    if (index && index.length === shape.length) showNumber(index);
  }

  function pictures() {
    if (!found.values) return el("p", {class: "note"}, t("graph.not_saved"));
    const parts = [[t("graph.value"), found.values, "value"]];
    if (found.gradient) parts.push([t("graph.gradient"), found.gradient.values, "gradient"]);
    const isWide = found.values.shape[1] > 40;
    return el("div", {class: isWide ? "value-maps wide" : "value-maps"}, parts.map(([title, {shape, data}, name]) => {
      const [rows, columns] = shape;
      const tokens = rowTokens();
      return el("div", {class: "value-map"}, el("h4", {}, title), heatMap({
        rows, columns, data, signed: hasSigns(data), name: `${path.replace(/\W+/g, "-")}-${name}`, label: name === "value" ? lastName(path) : `∂L/∂${lastName(path)}`,
        cell: cellOf(rows, columns), rowLabels: tokens && tokens.slice(row, row + rows), maxHeight: 300,
        columnLabels: column ? Array.from({length: columns}, (_, j) => String(column + j)) : undefined,
        selected: index && at(index) ? at(index) : undefined,
        ariaLabel: t("graph.map_of", {name: path, rows, columns}),
        describe: (i, j) => [`[${indexOf(i, j).join(", ")}]${tokens ? ` ${tokens[row + i]}` : ""}`, number(data[i * columns + j], 6)],
        onclick: (i, j) => {
          index = indexOf(i, j);
          options.onindex(index);
          showNumber(index);
        },
      }));
    }));
  }

  // The tokens label the rows of values whose rows are positions.
  function rowTokens() {
    const axes = graph.values.axes[value], axis = axes[axes.length - 2];
    const isPosition = axis === "T" || axis === "Tq" || axis === "S";
    const tokens = axis === "S" && graph.source_tokens ? graph.source_tokens : graph.tokens;
    return isPosition && found.matrices[1] === tokens.length ? tokens.map(each => each.replace(/ /g, "␣").replace(/\n/g, "⏎") || "∅") : null;
  }

  function indexOf(i, j) {
    const shape = found.shape;
    if (!shape.length) return [];
    if (shape.length === 1) return [column + j];
    return [...unravel(matrix, shape.slice(0, -2)), row + i, column + j];
  }

  // -> the cell of an index in the window, or null
  function at(place) {
    const [i, j] = place.length < 2 ? [0, (place[0] ?? 0) - column] : [place[place.length - 2] - row, place[place.length - 1] - column];
    const [rows, columns] = found.values.shape;
    const same = unravel(matrix, found.shape.slice(0, -2)).every((x, k) => x === place[k]);
    return same && i >= 0 && j >= 0 && i < rows && j < columns ? [i, j] : null;
  }

  async function showNumber(place) {
    const cell = found.values && at(place);
    const own = cell ? found.values.data[cell[0] * found.values.shape[1] + cell[1]] : null;
    const slope = cell && found.gradient ? found.gradient.values.data[cell[0] * found.values.shape[1] + cell[1]] : null;
    const head = el("h4", {}, `${lastName(path)}[${place.join(", ")}] = `, el("output", {class: "the-number"}, number(own, 6)));
    const made = el("div", {class: "made"}), measured = el("div", {class: "difference"});
    numberBox.replaceChildren(head,
      el("p", {class: "facts"}, slope === null ? t("graph.no_gradient") : [`∂L/∂${lastName(path)} = `, el("output", {class: "the-gradient"}, number(slope, 6))]),
      made, measured);
    measured.append(differenceControls(place, measured));
    try {
      const from = await context.ask("graph_number", {path, index: place});
      made.replaceChildren(computationOf(from, place));
    } catch (error) {
      if (context.signal.aborted) return;
      made.replaceChildren(el("p", {class: "note"}, error.offline ? t("shell.offline") : error.message));
    }
  }

  function computationOf(from, place) {
    const parts = [];
    if (from.statement) parts.push(el("pre", {class: "line"}, el("code", {}, from.statement)));
    if (from.same) parts.push(el("p", {}, t("graph.same"), " ", link(from.same), ` = ${number(from.same.values, 6)}`));
    if (from.product) parts.push(productOf(from.product, from.bias, from.value));
    for (const operand of from.operands) {
      const many = operand.values && operand.values.data;
      parts.push(el("p", {class: "operand"}, el("b", {}, operand.name), " ", link(operand), many ? ` — ${t("graph.row_of", {n: many.length})}` : ` = ${number(operand.values, 6)}`));
      if (many) parts.push(strip(many));
    }
    return el("div", {}, parts);
  }

  function productOf([left, right], bias, total) {
    const [a, b] = [left.values.data, right.values.data];
    const products = a.map((x, k) => x * b[k]);
    const lines = [a, b, products], most = lines.map(line => Math.max(...line.map(Math.abs)) || 1);  // each row to its largest
    const sum = products.reduce((x, y) => x + y, 0);
    const order = Array.from(products, (x, k) => k).sort((i, j) => Math.abs(products[j]) - Math.abs(products[i])).slice(0, 12);
    return el("div", {class: "product"},
      el("p", {}, `Σ `, link(left), " × ", link(right), bias ? [" + ", link(bias)] : null,
        ` = ${number(sum, 6)}${bias ? ` + ${number(bias.values, 6)} = ${number(sum + bias.values, 6)}` : ""}`),
      heatMap({rows: 3, columns: a.length, value: (i, j) => lines[i][j] / most[i], limits: [-1, 1], signed: true,
        describe: (i, j) => [`k = ${j}`, `${[left.name, right.name, "×"][i]} ${number(lines[i][j], 6)}`], rowLabels: [left.name, right.name, "×"],
        name: "product", label: "", maxHeight: 120, cell: cellOf(3, a.length), ariaLabel: t("graph.product_of", {n: a.length})}),
      table(["k", left.name, right.name, "×"], order.map(k => [k, a[k], b[k], products[k]]), {caption: t("graph.largest", {n: order.length, all: a.length}), name: "product-terms"}));
  }

  const strip = values => heatMap({rows: 1, columns: values.length, data: values, signed: hasSigns(values), name: "row", label: "", maxHeight: 60, cell: cellOf(1, values.length),
    ariaLabel: t("graph.row_of", {n: values.length})});

  function link(operand) {
    const place = operand.index.map(k => (k === null ? ":" : k)).join(", ");
    const target = graph.values.path.indexOf(operand.path);
    const text = `${lastName(operand.path)}[${place}]`;
    if (target < 0) return el("code", {}, text);
    return el("button", {type: "button", class: "link", title: operand.path,
      onclick: () => options.onvalue(target, operand.index.map(k => (k === null ? 0 : k)))}, text);
  }

  function differenceControls(place, measured) {
    let eps = "1e-4";
    const result = el("div", {class: "difference-result", role: "status"});
    const run = async () => {
      try {
        const found = await context.ask("graph_difference", {path, index: place, eps: Number(eps)});
        result.replaceChildren(differenceTable(found));
      } catch (error) {
        if (context.signal.aborted) return;
        result.replaceChildren(el("p", {class: "note"}, error.offline ? t("shell.offline") : error.message));
      }
    };
    return el("div", {}, el("div", {class: "row"}, button(t("graph.measure"), run, {"data-action": "difference"}),
      select("ε", STEPS, eps, chosen => { eps = chosen; })), result);
  }

  function differenceTable(found) {
    const agrees = found.relative_error !== null && (found.relative_error < 1e-5 || Math.abs(found.analytic - found.numeric) < 1e-10);
    return el("div", {},
      table([t("graph.way"), "∂L/∂v"], [
        [t("graph.by_backward"), found.analytic === null ? "–" : exact(found.analytic)],
        [t("graph.by_difference"), exact(found.numeric)],
        [t("graph.by_central", {eps: found.eps}), exact(found.central)],
        [t("graph.relative_error"), found.relative_error === null ? "–" : exact(found.relative_error)],
        ["L(v − ε)", exact(found.losses[0])], ["L(v + ε)", exact(found.losses[1])],
      ], {name: "finite-difference", caption: t("graph.difference")}),
      el("p", {class: agrees ? "good" : "note"}, found.relative_error === null ? t("graph.only_measured") : agrees ? t("graph.agree") : t("graph.differ")));
  }

  await load();
  return el("div", {class: "value-panel"},
    el("p", {class: "facts path"}, el("code", {}, path), " · ", shapeText(graph, value), " · ", graph.values.dtype[value]), box, numberBox);
}

// Wide matrices get narrow cells that are high enough to see and to hit.
function cellOf(rows, columns) {
  if (columns <= 24) return undefined;
  const width = Math.max(4, Math.floor(480 / columns));
  return [width, rows <= 40 ? 14 : width];
}

const exact = x => (x === 0 ? "0" : x.toPrecision(10));
const hasSigns = data => data.some(x => x < 0);
export const lastName = path => {
  const name = path.split(":").slice(-1)[0].replace(/#\d+$/, "");
  return name.startsWith("returned") ? path.split(":")[0].split("/").slice(-1)[0] : name;
};

function pager(label, at, size, go) {
  return el("span", {class: "control"}, label,
    button("◀", () => go(Math.max(0, at - 256)), {disabled: at === 0, "aria-label": `${label} ◀`}),
    button("▶", () => go(at + 256), {disabled: at + 256 >= size, "aria-label": `${label} ▶`}));
}

function unravel(flat, shape) {
  const index = [];
  for (let k = shape.length - 1; k >= 0; k--) {
    index.unshift(flat % shape[k]);
    flat = Math.floor(flat / shape[k]);
  }
  return index;
}

function statisticsTable({statistics, gradient}, path) {
  const cell = (from, name) => (from[name] === null || from[name] === undefined ? "–" : from[name]);
  const percent = x => (typeof x === "number" ? `${(100 * x).toFixed(x && x < 0.001 ? 3 : 1)} %` : x);
  const line = from => NAMES.map(name => (name === "zeros" ? percent(cell(from, name)) : cell(from, name)));
  const rows = [[t("graph.value"), ...line(statistics)]];
  if (gradient) rows.push([t("graph.gradient"), ...line(gradient.statistics)]);
  return table([t("graph.of"), ...NAMES.map(name => t(`graph.${name}`))], rows, {name: "statistics", caption: t("graph.statistics_of", {name: lastName(path)})});
}

// From the server, or from what a saved page contains
async function fetchValue(context, graph, value, {matrix, row, column}) {
  try {
    return await context.ask("graph_value", {path: graph.values.path[value], matrix, row, column});
  } catch (error) {
    if (!error.offline) throw error;
  }
  const kept = await context.ask("graph_values");
  const shape = graph.values.shape[value];
  const [rows, columns] = shape.length < 2 ? [1, shape[0] ?? 1] : shape.slice(-2);
  const stack = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const statistics = table => Object.fromEntries(NAMES.map((name, k) => [name, finite(table.data[value * NAMES.length + k])]));
  const window = array => array && {shape: [rows, columns], data: array.data.slice(matrix * rows * columns, (matrix + 1) * rows * columns)};
  const small = kept.small[value];
  const slope = statistics(kept.gradients);
  return {shape, matrices: [stack, rows, columns], statistics: statistics(kept.statistics), values: small ? window(small.values) : null,
    gradient: slope.norm === null ? null : {statistics: slope, values: small && window(small.gradient)}};
}

const finite = x => (Number.isFinite(x) ? x : null);
