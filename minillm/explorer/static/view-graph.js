// The model itself, from the whole down to one number, forward and backward.

import {el, number, table} from "./dom.js";
import {t} from "./messages.js";
import {button, panel, field} from "./controls.js";
import {graphFigure, gradientNorm, shapeText} from "./graph-figure.js";
import {valuePanel, lastName} from "./graph-value.js";

const MODES = ["forward", "backward", "both"];

export default {
  id: "graph",
  async render(root, context) {
    const graph = await context.ask("graph");
    new GraphView(root, context, graph).start();
  },
};

class GraphView {
  constructor(root, context, graph) {
    Object.assign(this, {root, context, graph});
    this.byId = new Map(graph.calls.map((call, k) => [call.id, k]));
    const get = (key, fallback) => context.state.get(key, fallback);
    this.hasBackward = graph.backward_root >= 0;  // quantized weights have none
    this.mode = this.hasBackward && MODES.includes(get("mode")) ? get("mode") : "forward";
    this.focus = this.byId.get(get("focus")) ?? graph.root;
    const open = get("open", null);
    this.open = new Set(open === null ? this.firstOpen() : open.split(",").map(id => this.byId.get(id)).filter(call => call !== undefined));
    this.value = graph.values.path.indexOf(get("path", ""));
    this.index = get("index", "") === "" ? null : String(get("index")).split(",").map(Number);
    const fits = this.value >= 0 && this.index && this.index.length === graph.values.shape[this.value].length;
    if (!fits) this.index = null;
    this.matrix = fits ? this.matrixOf(this.value, this.index) : Number(get("matrix", 0)) || 0;
    this.chosen = get("node", null);
    this.side = this.mode === "backward" ? "backward" : "forward";
  }

  // At first the blocks are in sight: everything around them is open.
  firstOpen() {
    const {calls} = this.graph;
    const isBlock = call => /\.\d+$/.test(call.id);
    const hasBlock = new Set();
    calls.forEach((call, k) => {
      if (!isBlock(call) || call.id.startsWith("backward/")) return;
      for (let at = call.parent; at >= 0; at = calls[at].parent) hasBlock.add(at);
    });
    if (!hasBlock.size) return calls.map((call, k) => k).filter(k => calls[k].type && !calls[k].id.startsWith("backward/") && calls[k].parent === this.graph.root);
    return [...hasBlock].filter(k => !calls.some((call, at) => hasBlock.has(at) && isBlock(calls[k])));
  }

  start() {
    this.crumbs = el("div", {class: "crumbs", role: "navigation", "aria-label": t("graph.path")});
    this.place = el("div", {class: "graph-place"});
    this.details = el("div", {class: "graph-details"});
    const modes = el("div", {class: "modes", role: "group", "aria-label": t("graph.direction")},
      MODES.map(mode => button(t(`graph.${mode}`), () => this.setMode(mode), {pressed: mode === this.mode, "data-mode": mode, disabled: mode !== "forward" && !this.hasBackward})));
    this.modes = modes;
    this.root.append(
      el("div", {class: "row graph-tools"}, modes, this.search(),
        el("span", {class: "facts"}, t(`graph.loss_${this.graph.kind.replace(/ /g, "_")}`), " = ", el("output", {class: "the-loss"}, number(this.graph.loss, 6)))),
      el("p", {class: "note"}, t("graph.keys")), this.crumbs,
      (this.frame = el("div", {class: "graph-frame"}, this.place, this.details)));
    if (this.value >= 0 && this.context.state.get("open", null) === null) {
      this.goToValue(this.value, this.index);
      return;
    }
    this.draw();
    if (this.value >= 0) this.showValue(this.value);
    else this.showCall(this.context.state.get("focus", null) === null ? this.firstBlock() ?? this.focus : this.focus);
  }

  // What the details begin with: a block reads like its formulas.
  firstBlock() {
    return this.byId.get(this.graph.calls.map(call => call.id).find(id => /\.0$/.test(id) && !id.startsWith("backward/")));
  }

  // ---- what is drawn

  setMode(mode) {
    this.mode = mode;
    this.side = mode === "backward" ? "backward" : "forward";
    [...this.modes.children].forEach(each => each.setAttribute("aria-pressed", String(each.dataset.mode === mode)));
    this.draw();
    this.refresh();
  }

  draw(focused = null) {
    const modes = this.mode === "both" ? ["forward", "backward"] : [this.mode];
    this.figure = graphFigure({
      graph: this.graph, focus: this.focus, isOpen: call => this.open.has(this.forwardOf(call)), modes, selected: this.chosen,
      onchoose: (item, key, mode, open) => this.choose(item, key, mode, open),
      onup: item => this.up(item), onzoom: call => this.zoom(call),
    });
    const old = this.place.querySelector(".graph-scroll");
    const [top, left] = old ? [old.scrollTop, old.scrollLeft] : [0, 0];
    this.place.replaceChildren(this.figure, this.legend(modes));
    this.frame.classList.toggle("both", this.mode === "both");
    const scroller = this.place.querySelector(".graph-scroll");
    [scroller.scrollTop, scroller.scrollLeft] = [top, left];
    if (!old) this.figure.center();
    if (focused !== null) this.figure.focusOn(focused, this.side);
    else if (this.chosen !== null) this.figure.show(this.chosen);
    this.save();
  }

  legend(modes) {
    return el("div", {class: "legend graph-legend"}, modes.map(mode => [el("span", {class: `graph-scale ${mode}`}),
      el("span", {}, t(mode === "forward" ? "graph.by_norm" : "graph.by_gradient"))]));
  }

  // From the whole down to what is shown: calls, a value, an index; the drawing begins at the bold one.
  drawCrumbs() {
    const {calls, values} = this.graph;
    const maker = this.value >= 0 ? values.maker[this.value] : this.shownCall ?? this.focus;
    const way = [];
    for (let at = maker < 0 ? this.focus : maker; at >= 0; at = calls[at].parent) way.unshift(at);
    const steps = way.map(call => (this.forwardOf(call) === this.focus ? el("b", {"aria-current": "location"}, calls[call].label)
      : button(calls[call].label, () => this.zoom(this.forwardOf(call)), {class: "link"})));
    if (this.value >= 0) steps.push(el("span", {}, maker < 0 ? values.path[this.value] : lastName(values.path[this.value])));
    if (this.index) steps.push(el("span", {}, `[${this.index.join(", ")}]`));
    this.crumbs.replaceChildren(...steps.flatMap((step, k) => [k ? el("span", {"aria-hidden": "true"}, " › ") : null, step]).filter(Boolean));
  }

  choose(item, key, mode, open) {
    [this.chosen, this.side] = [key, mode];
    if (open && item.kind === "call") {
      this.turn(item.call);
      this.draw(key);
      this.showCall(item.call);
      return;
    }
    this.figure.mark(key, mode);
    if (item.kind === "call") this.showCall(item.call);
    else if (item.values.length) this.showValue(item.values[0], null, item.values);
    this.save();
  }

  // Escape: close what is open, then its surroundings, then zoom out
  up(item) {
    const {calls} = this.graph;
    const isOpen = item.kind === "call" && this.open.has(this.forwardOf(item.call));
    const call = this.forwardOf(isOpen ? item.call : this.byId.get(item.owner.id));
    if (call === this.focus) {
      if (calls[call].parent >= 0) this.zoom(calls[call].parent, call);
      return;
    }
    this.open.delete(call);
    this.chosen = String(call);
    this.draw(this.chosen);
    this.showCall(call);
  }

  zoom(call, from = null) {
    this.focus = call;
    this.chosen = from === null ? null : String(from);
    this.draw(this.chosen);
    this.showCall(from ?? call);
  }

  save() {
    this.drawCrumbs();
    this.context.state.set({
      mode: this.mode === "forward" ? null : this.mode, focus: this.focus === this.graph.root ? null : this.graph.calls[this.focus].id,
      open: [...this.open].map(call => this.graph.calls[call].id).join(","), node: this.chosen,
      path: this.value >= 0 ? this.graph.values.path[this.value] : null, index: this.index ? this.index.join(",") : null, matrix: this.matrix || null,
    });
  }

  refresh() {
    if (this.value >= 0) this.showValue(this.value, this.index);
    else if (this.shownCall !== undefined) this.showCall(this.shownCall);
  }

  // ---- the search

  search() {
    const {calls, values} = this.graph;
    const names = new Map();
    calls.forEach(call => Object.entries(call.variables).forEach(([name, value]) => names.set(`${call.id}:${name}`, value)));
    values.path.forEach((path, value) => names.set(path, value));
    const list = el("datalist", {id: `graph-names-${this.context.side}`});
    const control = field(t("graph.search"), "", text => this.find(text, names), {list: list.id, placeholder: "attention:Q", class: "graph-search"});
    const input = control.querySelector("input");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const near = words.length ? [...names.keys()].filter(name => words.every(word => name.toLowerCase().includes(word))) : [];
      near.sort((a, b) => a.length - b.length);
      list.replaceChildren(...near.slice(0, 30).map(name => el("option", {value: name})));
    });
    return el("span", {}, control, list);
  }

  find(text, names) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return;
    const all = [...names.keys()].sort((a, b) => a.length - b.length);
    const name = names.has(text.trim()) ? text.trim() : all.find(each => each.toLowerCase().endsWith(wanted)) || all.find(each => wanted.split(/\s+/).every(word => each.toLowerCase().includes(word)));
    if (!name) {
      this.context.announce(t("graph.nothing", {name: text}));
      return;
    }
    this.goToValue(names.get(name));
  }

  // Open everything around the value, and show it.
  goToValue(value, index = null) {
    const {calls, values} = this.graph;
    let maker = values.maker[value];
    if (maker < 0) maker = calls.findIndex(call => call.type && call.nodes.some(node => node[5].includes(value)) || Object.values(call.variables).includes(value));
    const isBackward = maker >= 0 && calls[maker].id.startsWith("backward/");
    for (let at = maker; at >= 0; at = calls[at].parent) this.open.add(this.forwardOf(at));
    calls.forEach(call => {  // the backward may have calls in between that the forward has no twin of
      if (!call.id.startsWith("backward/") || call.twin < 0 || !this.open.has(call.twin)) return;
      for (let at = call.parent; at >= 0; at = calls[at].parent) if (calls[at].twin < 0) this.open.add(at);
    });
    if (isBackward && this.mode === "forward") this.mode = "both";
    const node = maker < 0 ? -1 : calls[maker].nodes.findIndex(each => each[0] !== "input" && each[5].includes(value));
    this.focus = this.isInside(maker, this.focus) ? this.focus : this.graph.root;
    this.chosen = node >= 0 ? (calls[maker].nodes[node][0] === "call" ? String(calls[maker].nodes[node][2]) : `${calls[maker].id}|${node}`) : null;
    this.side = isBackward ? "backward" : "forward";
    this.matrix = index ? this.matrixOf(value, index) : 0;
    this.draw();
    this.showValue(value, index);
  }

  isInside(call, around) {
    for (let at = call; at >= 0; at = this.graph.calls[at].parent) if (at === around) return true;
    return false;
  }

  matrixOf(value, index) {
    const leading = this.graph.values.shape[value].slice(0, -2);
    return leading.reduce((flat, size, k) => flat * size + index[k], 0);
  }

  // ---- the details at the side

  showCall(call) {
    const {calls} = this.graph;
    this.shownCall = call;
    [this.value, this.index, this.matrix] = [-1, null, 0];
    const own = calls[call], twin = own.twin >= 0 ? calls[own.twin] : null;
    this.details.replaceChildren(panel(own.type ? `${own.label} · ${own.type}` : own.label,
      el("p", {class: "facts path"}, el("code", {}, own.id)),
      el("div", {class: "row"},
        button(this.open.has(this.forwardOf(call)) ? t("graph.close") : t("graph.open"), () => this.toggle(call), {disabled: call === this.focus}),
        button(t("graph.zoom"), () => this.zoom(call), {disabled: call === this.focus}),
        button(t("graph.out"), () => this.zoom(Math.max(0, calls[this.focus].parent), this.focus), {disabled: calls[this.focus].parent < 0})),
      this.equationOf(own.function),
      this.variablesOf(call)),
    this.sourcePanel(t("graph.source"), own.function, 0, 0, this.side === "forward"),
    twin && this.sourcePanel(t("graph.backward_source"), twin.function, 0, 0, this.side === "backward" || this.mode === "both"),
    twin && this.variablesPanel(own.twin));
    this.save();
  }

  // Open a call, or close it. With a block open its residual connections, so that one line goes through.
  turn(call) {
    call = this.forwardOf(call);
    if (this.open.has(call)) {
      this.open.delete(call);
      return;
    }
    this.open.add(call);
    for (const [kind, , child] of this.graph.calls[call].nodes) {
      if (kind === "call" && this.isResidual(child)) this.open.add(child);
    }
  }

  // A call of the backward opens and closes together with its twin.
  forwardOf(call) {
    const {id, twin} = this.graph.calls[call];
    return id.startsWith("backward/") && twin >= 0 ? twin : call;
  }

  // Whether a call adds what it was given to what it computed from it
  isResidual(call) {
    const {type, nodes, edges} = this.graph.calls[call];
    return Boolean(type) && nodes.some(([, label], sum) => label === "+" &&
      edges.some(([from, to]) => to === sum && nodes[from][0] === "input") && edges.some(([from, to]) => to === sum && nodes[from][0] === "call"));
  }

  toggle(call) {
    this.turn(call);
    this.chosen = String(call);
    this.draw();
    this.showCall(call);
  }

  equationOf(place) {
    const lines = place >= 0 ? this.graph.functions[place].equation : [];
    return lines.length ? el("pre", {class: "equation", tabindex: 0, role: "region", "aria-label": t("graph.formula")}, lines.join("\n")) : null;
  }

  variablesPanel(call) {
    return panel(t("graph.backward_source"), this.variablesOf(call, t("graph.backward_variables")));
  }

  variablesOf(call, caption = t("graph.variables")) {
    const {graph} = this;
    const rows = Object.entries(graph.calls[call].variables);
    const seen = new Map();
    for (const [name, value] of rows) seen.set(value, [...(seen.get(value) || []), name]);
    const lines = [...seen].map(([value, names]) => [names.join(" = "), shapeText(graph, value), graph.values.norm.data[value], gradientNorm(graph, value)]);
    if (!lines.length) return null;
    const values = [...seen.keys()];
    return table([t("graph.variable"), t("graph.shape"), t("graph.norm"), t("graph.gradient")],
      lines.map(line => line.map(cell => (Number.isNaN(cell) ? "–" : cell))), {onrow: k => this.showValue(values[k]), name: "variables", caption});
  }

  async showValue(value, index = null, siblings = null) {
    const {graph} = this;
    const {values, calls} = graph;
    [this.value, this.index] = [value, index ?? (this.value === value ? this.index : null)];
    if (index) this.matrix = this.matrixOf(value, index);
    const ticket = (this.ticket = {});
    const maker = values.maker[value];
    const body = await valuePanel(this.context, graph, value, {
      matrix: this.matrix, index: this.index,
      onindex: chosen => { this.index = chosen; this.save(); },
      onmatrix: matrix => { this.matrix = matrix; this.save(); },
      onvalue: (other, at) => this.goToValue(other, at),
    });
    if (this.ticket !== ticket) return;
    const twin = maker >= 0 && calls[maker].twin >= 0 ? calls[calls[maker].twin] : null;
    const others = siblings && siblings.length > 1 ? el("div", {class: "row"}, siblings.map(each =>
      button(lastName(values.path[each]), () => this.showValue(each, null, siblings), {pressed: each === value}))) : null;
    this.details.replaceChildren(
      panel(maker < 0 ? t("graph.parameter_of", {name: values.path[value]}) : this.namesOf(value), others,
        maker >= 0 && this.equationOf(values.function[value]), body),
      maker >= 0 ? this.sourcePanel(t("graph.source"), values.function[value], values.first[value], values.last[value], true) : this.usersOf(value),
      twin && !values.path[value].startsWith("backward/") && this.sourcePanel(t("graph.backward_source"), twin.function, 0, 0, this.mode !== "forward"));
    this.save();
  }

  // All names that functions have for a value: "p · weights · P"
  namesOf(value) {
    const names = this.graph.calls.flatMap(call => Object.entries(call.variables).filter(each => each[1] === value).map(each => each[0]))
      .filter(name => !name.startsWith("returned") && !name.includes(".") && !name.includes("["));
    return [...new Set([lastName(this.graph.values.path[value]), ...names])].slice(0, 6).join(" · ");
  }

  usersOf(value) {
    const {calls} = this.graph;
    const users = calls.map((call, k) => k).filter(k => calls[k].type && Object.values(calls[k].variables).length >= 0 &&
      calls.some(call => call.parent === k && !call.type && Object.values(call.variables).includes(value)));
    return users.length ? panel(t("graph.users"), el("ul", {class: "plain"}, users.map(k =>
      el("li", {}, button(calls[k].id, () => this.showCallAt(k), {class: "link"}))))) : null;
  }

  showCallAt(call) {
    for (let at = this.graph.calls[call].parent; at >= 0; at = this.graph.calls[at].parent) this.open.add(at);
    this.chosen = String(call);
    this.focus = this.graph.root;
    this.draw();
    this.showCall(call);
  }

  // The source of a function with the statement marked, and the derivation above a backward
  sourcePanel(title, place, first, last, isOpen) {
    if (place < 0) return null;
    const {name, place: file, first: start, lines, derivation} = this.graph.functions[place];
    const code = el("pre", {class: "source", tabindex: 0, role: "region", "aria-label": `${title}: ${name}`}, lines.map((line, k) =>
      el("span", {class: start + k >= first && start + k <= last && first ? "source-line here" : "source-line"}, el("span", {class: "line-number", "aria-hidden": "true"}, String(start + k)), line, "\n")));
    return el("details", {class: "panel source-panel", open: isOpen}, el("summary", {}, `${title}: `, el("code", {}, name), " ", el("span", {class: "facts"}, `${file}:${first || start}`)),
      derivation.length ? el("pre", {class: "derivation", tabindex: 0, role: "region", "aria-label": t("graph.derivation")}, derivation.join("\n")) : null, code);
  }
}
