// The drawing of a laid-out graph: nodes that open, edges with shapes, colored by a norm.

import {el, svg, number} from "./dom.js";
import {t} from "./messages.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {Layout, SIZES, shortName} from "./graph-layout.js";

const MARGIN = 12;

// options: {graph, focus, isOpen(call), modes: ["forward"], ["backward"] or both, selected: key, onchoose(item, key), ontoggle(call)}
// -> element with .focusOn(key);  key: "call:place" names a node
export function graphFigure(options) {
  const {graph, focus, modes} = options;
  const sides = modes.map(mode => ({mode, layout: new Layout(graph, options.isOpen, mode === "backward").of(focus)}));
  const width = sides.reduce((sum, {layout}) => sum + layout.w + 2 * MARGIN, 0);
  const height = Math.max(...sides.map(({layout}) => layout.h)) + 2 * MARGIN + (modes.length > 1 ? 22 : 0);
  const picture = svg("svg", {class: "graph-svg", width, height, viewBox: `0 0 ${width} ${height}`, role: "application",
    "aria-label": t("graph.figure", {name: graph.calls[focus].label, n: sides[0].layout.items.length}), tabindex: -1});
  const items = new Map();  // key -> {item, element, mode}
  const scales = norms(graph);
  picture.append(markers());
  let current = null;  // the node with the keyboard
  const nameOf = value => shortName(graph.values.path[value].split(":").slice(-1)[0]);
  const isOfBackward = values => graph.values.path[values[0]].startsWith("backward/");

  function drawLevel(parent, layout, mode, depth) {
    const labeled = new Set();  // a value is labeled once where it branches
    const names = new Map(Object.entries(graph.calls[layout.shown].variables).map(([name, value]) => [value, name]));
    const placed = [];  // labels that would cover another one are left out: the title says it, too
    const byLength = [...layout.edges].sort((a, b) => a.points.length - b.points.length);
    for (const edge of byLength) {
      const isNew = edge.values.some(value => !labeled.has(value));
      edge.values.forEach(value => labeled.add(value));
      parent.append(edgeLine(edge, mode, isNew && placed, names, layout.flipped));
    }
    for (const item of layout.items) parent.append(nodeGroup(item, layout, mode, depth));
  }

  function edgeLine({values, points}, mode, placed, scope, flipped) {
    const path = mode === "backward" && !flipped ? [...points].reverse() : points;
    const [first, last] = [path[0], path[path.length - 1]];
    const names = values.map(value => `${nameOf(value)}: ${shapeText(graph, value)}`).join(", ");
    const has = mode === "forward" || values.some(value => !Number.isNaN(graph.values.gradient.data[value])) || isOfBackward(values);
    const line = svg("path", {class: `edge ${mode}${has ? "" : " none"}`, d: curve(path), "marker-end": `url(#arrow-${mode})`}, svg("title", {}, names));
    const at = [(points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2];
    const text = values.length > 1 ? values.map(value => scope.get(value) || nameOf(value)).join(", ") : axesText(graph, values[0]);
    const box = [at[0] + 5, at[1] - 6, text.length * 5.6, 12];
    const fits = placed && text && Math.abs(last[1] - first[1]) > 24 && !placed.some(([x, y, w, h]) => x < box[0] + box[2] && box[0] < x + w && y < box[1] + box[3] && box[1] < y + h);
    if (fits) placed.push(box);
    const label = fits ? svg("text", {class: "edge-label", x: at[0] + 5, y: at[1] + 3}, text, svg("title", {}, names)) : null;
    return svg("g", {}, line, label);
  }

  function nodeGroup(item, layout, mode, depth) {
    const {calls} = graph;
    const key = keyOf(item);
    const group = svg("g", {class: `node ${item.kind}${item.inner ? " open" : ""}`, transform: `translate(${item.x} ${item.y})`});
    const norm = normOf(item, mode);
    const share = scales[mode](norm);
    const box = svg("rect", {class: "node-box", width: item.w, height: item.h, rx: item.kind === "call" ? 8 : Math.min(14, item.h / 2)});
    if (Number.isFinite(norm) && !item.inner && item.kind !== "output" && item.kind !== "input") {
      box.style.setProperty("fill", `color-mix(in srgb, var(--${mode === "backward" ? "positive" : "accent"}) ${Math.round(5 + 45 * share)}%, var(--raised))`);
    }
    if (item.inner) box.classList.add(depth % 2 ? "odd" : "even");
    const head = svg("g", {class: "node-head", tabindex: -1, role: "button", "aria-label": describe(item, mode, norm), dataset: {key, mode},
      ...(item.kind === "call" ? {"aria-expanded": String(Boolean(item.inner))} : {})});
    head.append(svg("title", {}, describe(item, mode, norm)));
    const target = svg("rect", {class: "node-sense", width: item.w, height: item.inner ? SIZES.HEAD : item.h, rx: 8});
    head.append(target);
    const type = item.kind === "call" ? calls[item.call].type : "";
    const middle = item.inner ? SIZES.HEAD / 2 + 4 : item.h / 2 + 4;
    if (item.kind === "call") {
      head.append(svg("text", {class: "node-label", x: 12, y: middle}, displayName(item.label)),
        type && svg("text", {class: "node-type", x: item.w - 26, y: middle, "text-anchor": "end"}, type) || "",
        svg("text", {class: "node-sign", x: item.w - 12, y: middle, "text-anchor": "middle"}, item.inner ? "−" : "+"));
    } else {
      head.append(svg("text", {class: "node-label", x: item.w / 2, y: middle, "text-anchor": "middle"}, displayName(shortName(item.label))));
    }
    head.addEventListener("click", event => {
      event.stopPropagation();
      choose(key, mode, {open: item.kind === "call"});
    });
    head.addEventListener("focus", () => (current = {key, mode}));
    group.append(box);
    if (item.inner) {
      const inside = svg("g", {transform: `translate(${SIZES.PAD} ${SIZES.HEAD + SIZES.PAD})`});
      const shift = (item.w - 2 * SIZES.PAD - item.inner.w) / 2;
      inside.setAttribute("transform", `translate(${SIZES.PAD + shift} ${SIZES.HEAD + SIZES.PAD})`);
      drawLevel(inside, item.inner, mode, depth + 1);
      group.append(inside);
    }
    group.append(head);
    items.set(`${mode} ${key}`, {item, head, layout, mode, key});
    return group;
  }

  function normOf(item, mode) {
    const list = item.kind === "output" ? item.values : item.values.slice(0, 1);
    return mode === "forward" ? graph.values.norm.data[list[0]] : gradientNorm(graph, list[0]);
  }

  function describe(item, mode, norm) {
    const parts = [item.label];
    if (item.kind === "call" && graph.calls[item.call].type) parts.push(graph.calls[item.call].type);
    else parts.push(t(`graph.kind_${item.kind}`));
    if (item.values.length) parts.push(shapeText(graph, item.values[0]));
    if (Number.isFinite(norm)) parts.push(`${t(mode === "backward" ? "graph.gradient_norm" : "graph.norm")} ${number(norm)}`);
    return parts.join(", ");
  }

  // ---- the keyboard: along edges, into and out of calls

  function choose(key, mode, {open = false} = {}) {
    mark(key, mode);
    options.onchoose(items.get(`${mode} ${key}`).item, key, mode, open);
  }

  function mark(key, mode) {
    for (const {head} of items.values()) {
      head.classList.remove("chosen");
      head.setAttribute("tabindex", "-1");
    }
    const found = items.get(`${mode} ${key}`) || items.values().next().value;
    if (!found) return null;
    found.head.setAttribute("tabindex", "0");
    if (key !== null && items.has(`${mode} ${key}`)) found.head.classList.add("chosen");
    return found;
  }

  function step({item, layout}, direction) {
    const down = layout.flipped ? -direction : direction;
    const edges = layout.edges.filter(edge => (down > 0 ? edge.from : edge.to) === item);
    const next = edges.map(edge => (down > 0 ? edge.to : edge.from));
    return next.sort((a, b) => Math.abs(center(a) - center(item)) - Math.abs(center(b) - center(item)))[0];
  }

  function beside({item, layout}, direction) {
    const near = layout.items.filter(each => each !== item && Math.sign(center(each) - center(item)) === direction && Math.abs(each.y - item.y) < 120);
    return near.sort((a, b) => distance(a, item) - distance(b, item))[0];
  }

  picture.addEventListener("keydown", event => {
    const here = current && items.get(`${current.mode} ${current.key}`);
    if (!here) return;
    const moves = {ArrowDown: () => step(here, 1), ArrowUp: () => step(here, -1), ArrowLeft: () => beside(here, -1), ArrowRight: () => beside(here, 1)};
    if (event.key in moves) {
      const next = moves[event.key]();
      if (next) focusItem(keyOf(next), here.mode, true);
    } else if (event.key === "Enter" || event.key === " ") {
      choose(here.key, here.mode, {open: here.item.kind === "call"});
    } else if (event.key === "Escape") {
      options.onup(here.item);
    } else if (event.key === "z" && here.item.kind === "call") {
      options.onzoom(here.item.call);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function focusItem(key, mode, tell = false) {
    const found = mark(key, mode);
    if (!found) return;
    found.head.focus({preventScroll: false});
    if (tell) options.onchoose(found.item, key, mode, false);
  }

  let x = MARGIN;
  for (const {mode, layout} of sides) {
    const top = MARGIN + (modes.length > 1 ? 22 : 0);
    const part = svg("g", {class: `side-${mode}`, transform: `translate(${x} ${top})`});
    if (modes.length > 1) picture.append(svg("text", {class: "graph-mode", x: x + layout.w / 2, y: MARGIN + 6, "text-anchor": "middle"}, t(`graph.${mode}`)));
    drawLevel(part, layout, mode, 0);
    picture.append(part);
    x += layout.w + 2 * MARGIN;
  }

  const scroller = el("div", {class: "graph-scroll", role: "region", "aria-label": t("graph.drawing"), tabindex: 0}, picture);
  const figure = saveable(scroller, {name: "graph", svg: () => svgText(picture), png: () => svgPicture(picture),
    json: () => listed(), rows: () => [["node", "kind", "shape", "norm", "gradient norm"], ...listed().map(each => Object.values(each))]});

  function listed() {
    return [...items.values()].filter(each => each.mode === modes[0]).map(({item}) => ({
      node: item.kind === "call" ? graph.calls[item.call].id : `${item.owner.id}:${item.label}`, kind: item.kind,
      shape: item.values.length ? graph.values.shape[item.values[0]].join(" × ") : "",
      norm: item.values.length ? graph.values.norm.data[item.values[0]] : null,
      gradient: item.values.length ? gradientNorm(graph, item.values[0]) : null}));
  }

  mark(options.selected, modes[0]);
  figure.focusOn = (key, mode) => focusItem(key, modes.includes(mode) ? mode : modes[0]);
  figure.mark = mark;
  figure.center = () => {
    scroller.scrollLeft = (scroller.scrollWidth - scroller.clientWidth) / 2;
  };
  figure.show = key => {
    const found = items.get(`${modes[0]} ${key}`);
    if (!found) return;
    const [a, b] = [found.head.getBoundingClientRect(), scroller.getBoundingClientRect()];
    if (a.top < b.top || a.bottom > b.bottom) scroller.scrollTop += a.top - b.top - scroller.clientHeight / 3;
    if (a.left < b.left || a.right > b.right) scroller.scrollLeft += a.left - b.left - scroller.clientWidth / 3;
  };
  return figure;
}

const displayName = label => label.replace(/^_+/, "");

export const keyOf = item => (item.kind === "call" ? `${item.call}` : `${item.owner.id}|${item.place}`);

const center = item => item.x + item.w / 2;
const distance = (a, b) => Math.abs(center(a) - center(b)) + 3 * Math.abs(a.y - b.y);

// The norm of a value's gradient; a value of the backward is one.
export function gradientNorm(graph, value) {
  if (value === undefined) return NaN;
  return graph.values.path[value].startsWith("backward/") ? graph.values.norm.data[value] : graph.values.gradient.data[value];
}

// (1, 11, 128) with axes B, T, d_model -> "T 11 × d_model 128"
export function axesText(graph, value) {
  const [shape, axes] = [graph.values.shape[value], graph.values.axes[value]];
  const parts = shape.map((size, k) => (axes[k] === "B" && size === 1 ? null : axes[k] ? `${axes[k]} ${size}` : String(size)));
  return parts.filter(each => each !== null).join(" × ");
}

export function shapeText(graph, value) {
  const [shape, axes] = [graph.values.shape[value], graph.values.axes[value]];
  const named = axes.some(each => each) ? `(${axes.map((each, k) => each || shape[k]).join(", ")}) = ` : "";
  return `${named}(${shape.join(", ")})`;
}

// Shares 0 to 1 of the logarithm of a norm, between the smallest and the largest of the run.
function norms(graph) {
  const scale = numbers => {
    const logs = [...numbers].filter(x => x > 0 && Number.isFinite(x)).map(Math.log).sort((a, b) => a - b);
    const [lo, hi] = [logs[Math.floor(logs.length * 0.02)], logs[Math.ceil(logs.length * 0.98) - 1]];
    return x => (x > 0 && hi > lo ? Math.min(1, Math.max(0, (Math.log(x) - lo) / (hi - lo))) : 0);
  };
  return {forward: scale(graph.values.norm.data), backward: scale(graph.values.gradient.data)};
}

function curve(points) {
  const [start, ...rest] = points;
  let [x, y] = start, d = `M${x.toFixed(1)} ${y.toFixed(1)}`;
  rest.forEach(([x2, y2], k) => {
    const last = k === rest.length - 1, bend = (y2 - y) / 2;
    const end = last ? y2 - Math.sign(y2 - y) * 5 : y2;
    d += ` C${x.toFixed(1)} ${(y + bend).toFixed(1)} ${x2.toFixed(1)} ${(y2 - bend).toFixed(1)} ${x2.toFixed(1)} ${end.toFixed(1)}`;
    [x, y] = [x2, y2];
  });
  return d;
}

function markers() {
  return svg("defs", {}, ["forward", "backward"].map(mode =>
    svg("marker", {id: `arrow-${mode}`, viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse"},
      svg("path", {class: `arrow ${mode}`, d: "M0 0.8 L7 4 L0 7.2 z"}))));
}
