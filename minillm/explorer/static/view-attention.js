// Where each head looks, and why: all heads at once, or one of them down to each dimension.

import {el, svg, table, number, tokenText} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {bars} from "./chart.js";
import {button, select, panel, row, note} from "./controls.js";
import {rgb, css} from "./color.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {t} from "./messages.js";

const TILE = 128, MOST_BARS = 14, LINE = 21, MOST_LINES = 600, MOST_FLOWS = 48;
const KINDS = ["previous", "first", "itself", "induction", "entropy"];

export default {
  id: "attention",
  render: (root, context) => show(root, context),
};

// known: the View that stood here, whose answer may serve again
async function show(root, context, known = null) {
  let name = context.state.get("name", ""), found;
  try {
    found = known && known.name === name ? known.found : await answer(context, name);
  } catch (error) {
    if (!name || error.name === "AbortError") throw error;
    context.state.set({name: null});  // of another model: this one's own
    [name, found] = ["", await answer(context, "")];
  }
  if (context.signal.aborted) return;
  const view = new View(found, context, name);
  root.replaceChildren(view.element);
  await view.open(context.state.get("layer", 0), context.state.get("head", 0));
}

const fields = name => (name ? {name} : {});

// Everything of a short text; small pictures of all heads of a long one
async function answer(context, name) {
  const found = await context.ask("attention", fields(name));
  if (found.whole) return found;
  const progress = context.progress(t("attention.reading", {n: number(found.tokens.length)}));
  try {
    return await context.ask("attention_long", fields(name), {report: progress.update, signal: progress.signal});
  } finally {
    progress.done();
  }
}

class View {
  constructor(found, context, name) {
    Object.assign(this, {found, context, name});
    this.T = found.tokens.length;
    this.S = found.keys.length;
    this.by = context.state.get("by", "weights") === "norms" ? "norms" : "weights";
    this.scale = !found.whole && this.by === "norms" ? "own" : context.state.get("scale", found.whole ? "one" : "own");
    this.queryLabels = found.tokens.map(tokenText);
    this.keyLabels = found.keys.map(tokenText);
    this.query = clamp(context.state.get("query", this.T - 1), this.T);
    this.key = context.state.within("key", -1, -1, this.S - 1);
    this.head = el("div");
    this.rowPanel = el("div");
    this.why = el("div");
    this.element = el("div", {}, this.controls(),
      el("div", {class: "att-top"}, el("div", {}, panel(t("attention.all_heads"), this.allHeads(), this.numbers()), this.rowPanel), this.head),
      this.why, found.cross && !found.whole ? note(t("attention.no_rollout")) : this.rollout());
  }

  controls() {
    const {attentions, name} = this.found;
    const choices = [];
    if (attentions.length > 1) {
      choices.push(select(t("attention.which"), attentions.map(each => ({value: each.name, label: named(each, attentions)})), name, value => {
        const isDefault = value === attentions.filter(each => !each.cross).pop().name;
        this.again({name: isDefault ? null : value, layer: null, head: null, query: null, key: null});
      }));
    }
    choices.push(select(t("attention.color"), ["weights", "norms"].map(by => ({value: by, label: t(`attention.by_${by}`)})), this.by,
      by => this.again({by: by === "weights" ? null : by})));
    if (this.found.whole || this.by === "weights") choices.push(select(t("attention.scale"), ["one", "own"].map(each => ({value: each, label: t(`attention.scale_${each}_${this.by}`)})), this.scale,
      scale => this.again({scale})));
    return row(choices);
  }

  again(changes) {
    this.context.state.set(changes);
    return show(this.element.parentElement, this.context, this);
  }

  // ---- all heads at once

  // -> {rows, columns, data, offset} of the small picture of a head
  small(layer, h) {
    const [, H, rows, columns] = (this.found.weights || this.found.thumbnails).shape;
    const offset = (layer * H + h) * rows * columns;
    if (this.by === "weights" || !this.found.whole) return {rows, columns, data: (this.found.weights || this.found.thumbnails).data, offset};
    return {rows, columns, data: this.longVectors(layer, h), offset: 0};
  }

  // The weights of a head times the lengths of its values
  longVectors(layer, h) {
    const {weights, value_norms: norms, heads: H} = this.found;
    const data = new Float32Array(this.T * this.S), at = layer * H + h;
    for (let i = 0, n = 0; i < this.T; i++) {
      for (let j = 0; j < this.S; j++, n++) data[n] = weights.data[at * data.length + n] * norms.data[at * this.S + j];
    }
    return data;
  }

  allHeads() {
    const {layers: L, heads: H} = this.found;
    const colors = Array.from({length: 256}, (_, i) => rgb(i, 0, 255));
    this.most = this.by === "weights" || !this.found.whole ? 1 : this.largest();
    this.buttons = [];
    const cells = [];
    for (let layer = 0; layer < L; layer++) {
      cells.push(el("span", {class: "att-layer"}, t("attention.layer", {n: layer})));
      for (let h = 0; h < H; h++) {
        const [kind, strength] = this.kind(layer, h);
        const each = el("button", {type: "button", class: "att-cell", "aria-label": this.described(layer, h), title: this.described(layer, h),
          dataset: {layer, head: h}, onclick: () => this.open(layer, h, true), onkeydown: event => this.moveBetween(event, layer, h)},
        thumbnail(this.small(layer, h), colors, this.scale === "own" ? null : this.most), el("span", {class: `att-kind att-${kind}`}, t(`attention.kind_${kind}`), " ", number(strength, 2)));
        this.buttons.push(each);
        cells.push(each);
      }
    }
    const grid = el("div", {class: "att-grid"}, cells);
    grid.style.gridTemplateColumns = `auto repeat(${H}, minmax(56px, 1fr))`;
    grid.style.minWidth = `${30 + 64 * H}px`;
    grid.style.maxWidth = `${30 + 150 * H}px`;
    const scroll = el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": t("attention.grid")}, grid);
    return saveable(scroll, {name: "attention-heads", png: () => this.poster(), json: () => this.facts()});
  }

  largest() {
    const {weights, value_norms: norms} = this.found;
    let most = 0;
    const size = this.T * this.S;
    for (let n = 0; n < weights.data.length; n++) {
      const x = weights.data[n] * norms.data[Math.floor(n / size) * this.S + (n % this.S)];
      if (x > most) most = x;
    }
    return most || 1;
  }

  measure(kind, layer, h) {
    if (this.found.cross && kind !== "entropy") return null;  // of another text's positions
    const from = kind === "induction" ? this.found.induction : this.found.kinds[kind];
    return from ? from.data[layer * this.found.heads + h] : null;
  }

  // -> what a head does most, and how much
  kind(layer, h) {
    const looks = ["previous", "first", "itself", "induction"].map(kind => [kind, this.measure(kind, layer, h)]).filter(each => each[1] !== null);
    looks.sort((a, b) => b[1] - a[1]);
    if (looks.length && looks[0][1] >= 0.4) return looks[0];
    const entropy = this.measure("entropy", layer, h);
    return [entropy >= 0.75 ? "broad" : "mixed", entropy];
  }

  described(layer, h) {
    const parts = KINDS.filter(kind => this.measure(kind, layer, h) !== null).map(kind => `${t(`attention.${kind}`)} ${number(this.measure(kind, layer, h), 3)}`);
    return `${t("attention.layer_head", {layer, head: h})}: ${parts.join(", ")}`;
  }

  facts() {
    const found = [];
    for (let layer = 0; layer < this.found.layers; layer++) {
      for (let h = 0; h < this.found.heads; h++) {
        found.push({layer, head: h, ...Object.fromEntries(KINDS.map(kind => [kind, this.measure(kind, layer, h)]))});
      }
    }
    return found;
  }

  numbers() {
    const rows = this.facts();
    const shown = KINDS.filter(kind => rows[0][kind] !== null);
    return el("details", {class: "att-more"}, el("summary", {}, t("attention.numbers")), note(t("attention.kinds_note"), " ", t("attention.small_note")),
      table([t("attention.head"), ...shown.map(kind => t(`attention.${kind}`))],
        rows.map(each => [`${each.layer}.${each.head}`, ...shown.map(kind => each[kind])]),
        {name: "head-kinds", sortable: true, digits: 3, onrow: i => this.open(rows[i].layer, rows[i].head, true)}));
  }

  moveBetween(event, layer, h) {
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    if (!(event.key in moves)) return;
    const [down, right] = moves[event.key], {layers: L, heads: H} = this.found;
    event.preventDefault();
    this.buttons[clamp(layer + down, L) * H + clamp(h + right, H)].focus();
  }

  poster() {
    const {layers: L, heads: H} = this.found, size = 96, gap = 22;
    const whole = el("canvas", {width: H * (size + 8) + 8, height: L * (size + gap) + 8}), c = whole.getContext("2d");
    c.fillStyle = css("--paper");
    c.fillRect(0, 0, whole.width, whole.height);
    c.fillStyle = css("--ink");
    c.font = "11px sans-serif";
    c.imageSmoothingEnabled = false;
    this.buttons.forEach((each, i) => {
      const x = 8 + (i % H) * (size + 8), y = 8 + Math.floor(i / H) * (size + gap);
      c.drawImage(each.querySelector("canvas"), x, y, size, size);
      c.fillText(`${Math.floor(i / H)}.${i % H} ${each.querySelector(".att-kind").textContent}`, x, y + size + 12, size);
    });
    return whole;
  }

  // ---- one head

  async open(layer, h, byUser = false) {
    layer = clamp(layer, this.found.layers);
    h = clamp(h, this.found.heads);
    const {context} = this;
    Object.assign(this, {layer, h});
    if (byUser) context.state.set({layer, head: h});
    this.buttons.forEach(each => each.setAttribute("aria-pressed", String(Number(each.dataset.layer) === layer && Number(each.dataset.head) === h)));
    if (byUser) context.announce(this.described(layer, h));
    this.one = this.found.whole ? this.oneOf(layer, h)
      : await context.ask("attention_head", {...fields(this.name), layer, head: h});
    if (this.layer !== layer || this.h !== h || context.signal.aborted) return;
    this.rows = new Map();
    this.showHead();
    this.choose(this.query, this.key);
  }

  // The head's part of the answer that holds everything
  oneOf(layer, h) {
    const {queries, key_vectors: keys, bias, scale, value_norms: norms, heads: H} = this.found;
    const D = queries.shape[3], group = H / keys.shape[1], one = layer * H + h, T = this.T, S = this.S;
    const cut = (x, at, size) => x.data.subarray(at * size, (at + 1) * size);
    return {queries: {shape: [T, D], data: cut(queries, one, T * D)}, bias: {data: cut(bias, one, T + S - 1)},
      key_vectors: {shape: [S, D], data: cut(keys, layer * keys.shape[1] + Math.floor(h / group), S * D)},
      scale: scale.data[layer], value_norms: {data: cut(norms, one, S)}};
  }

  // The score of a query and a key: scale Σ q_d k_d + bias
  score(query, key) {
    const {queries, key_vectors: keys, bias, scale} = this.one, D = queries.shape[1];
    const products = new Float64Array(D);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += products[d] = queries.data[query * D + d] * keys.data[key * D + d];
    const added = bias.data[key - query + this.T - 1];
    return {products, sum, scale, bias: added, score: scale * sum + added};
  }

  // -> the weights of a query, computed here from its scores: softmax over the keys
  weights(query) {
    if (!this.rows.has(query)) {
      const {queries, key_vectors: {data: keys}, bias, scale} = this.one, D = queries.shape[1];
      const q = queries.data.subarray(query * D, (query + 1) * D), found = new Float64Array(this.S);
      let most = -Infinity, total = 0;
      for (let key = 0, at = 0; key < this.S; key++) {
        let sum = 0;
        for (let d = 0; d < D; d++, at++) sum += q[d] * keys[at];
        found[key] = scale * sum + bias.data[key - query + this.T - 1];
        if (found[key] > most) most = found[key];
      }
      for (let key = 0; key < this.S; key++) total += found[key] = most === -Infinity ? 0 : Math.exp(found[key] - most);
      for (let key = 0; key < this.S; key++) found[key] /= total || 1;
      this.rows.set(query, found);
    }
    return this.rows.get(query);
  }

  // The weight that the model computed itself
  own(query, key) {
    if (!this.found.whole) return null;
    return this.found.weights.data[((this.layer * this.found.heads + this.h) * this.T + query) * this.S + key];
  }

  showHead() {
    const {layer, h} = this, title = t("attention.layer_head", {layer, head: h});
    this.lines = lineView({queries: this.queryLabels, keys: this.keyLabels, weights: q => this.weights(q), whole: this.found.whole,
      onhover: q => this.showRow(q ?? this.query), onchoose: q => this.choose(q, -1), onkey: key => this.choose(this.query, key), name: `attention-lines-${layer}-${h}`});
    this.head.replaceChildren(panel(title, note(this.described(layer, h).replace(`${title}: `, "")), this.map()),
      panel(t("attention.lines"), this.lines));
  }

  map() {
    const common = {label: t(`attention.by_${this.by}`), name: `attention-${this.layer}-${this.h}`, limits: this.scale === "own" ? null : [0, this.most], maxHeight: 640};
    if (this.found.whole) {
      const {data, offset} = this.small(this.layer, this.h);
      this.matrix = heatMap({...common, rows: this.T, columns: this.S, data, offset, rowLabels: this.queryLabels, columnLabels: this.keyLabels,
        describe: (i, j) => this.said(i, j), onhover: i => this.shownRow && this.shownRow.query !== (i ?? this.query) && this.showRow(i ?? this.query), onclick: (i, j) => this.choose(i, j)});
      return this.matrix;
    }
    this.matrix = zoomMap({...common, rows: this.T, columns: this.S, rowLabels: this.queryLabels, columnLabels: this.keyLabels,
      ask: place => this.context.ask("attention_tile", {...fields(this.name), layer: this.layer, head: this.h, kind: this.by, ...place}),
      onclick: (i, j) => this.choose(i, j), state: this.context.state});
    return this.matrix;
  }

  said(i, j) {
    const {value_norms: norms} = this.one, weight = this.weights(i)[j];
    return [`${i} ${this.queryLabels[i]} → ${j} ${this.keyLabels[j]}`, `${t("attention.weight")} ${number(weight)}`,
      `× ‖v W_O‖ ${number(norms.data[j])} = ${number(weight * norms.data[j])}`];
  }

  choose(query, key) {
    query = clamp(query, this.T);
    const weights = this.weights(query);
    const explicit = key >= 0 && key < this.S;
    if (!explicit) key = weights.indexOf(Math.max(...weights));
    Object.assign(this, {query, key: explicit ? key : -1});
    this.context.state.set({query, key: explicit ? key : null});
    this.matrix.select(query, key);
    this.lines.select(query);
    this.showRow(query);
    this.showWhy(query, key);
  }

  showRow(query) {
    const weights = this.weights(query), {value_norms: norms} = this.one;
    const order = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]).filter(key => weights[key] > 0);
    const shown = order.slice(0, MOST_BARS);
    const items = shown.map(key => ({label: `${key} ${this.keyLabels[key]}`, value: weights[key],
      title: `${key} ${this.keyLabels[key]}: ${number(weights[key])}; ‖v W_O‖ ${number(norms.data[key])}, ${t("attention.product")} ${number(weights[key] * norms.data[key])}`}));
    const rest = order.slice(MOST_BARS).reduce((total, key) => total + weights[key], 0);
    const limits = [0, weights[order[0]] > 0.25 ? 1 : weights[order[0]]];
    const heading = t("attention.row_of", {token: this.queryLabels[query], n: query});
    if (!this.rowBars || !this.rowPanel.contains(this.rowBars)) {
      this.rowBars = bars({items, limits, name: "attention-row", ariaLabel: heading, onclick: i => this.choose(this.shownRow.query, this.shownRow.keys[i])});
      this.rowRest = note();
      this.rowPanel.replaceChildren(panel(heading, this.rowBars, this.rowRest));
    } else this.rowBars.update({items, limits, ariaLabel: heading});
    this.shownRow = {query, keys: shown};
    this.rowPanel.querySelector("h3").textContent = heading;
    this.rowRest.textContent = order.length > shown.length ? t("attention.rest", {n: number(order.length - shown.length), sum: number(rest)}) : "";
  }

  // ---- why: the score, dimension by dimension

  showWhy(query, key) {
    const {products, sum, scale, bias, score} = this.score(query, key);
    const {queries, key_vectors: keys} = this.one, D = products.length;
    const order = Array.from(products.keys());
    const byDimension = this.context.state.get("dimensions", "size") === "order";
    if (!byDimension) order.sort((a, b) => Math.abs(products[b]) - Math.abs(products[a]));
    const items = order.map(d => ({label: String(d), value: products[d], color: products[d] < 0 ? "var(--negative)" : "var(--positive)",
      title: `${t("attention.dimension")} ${d}: q ${number(queries.data[query * D + d])} × k ${number(keys.data[key * D + d])} = ${number(products[d])}`}));
    const own = this.own(query, key);
    const lines = [["Σᵢ qᵢ kᵢ", sum], [t("attention.times_scale"), scale], [t("attention.plus_bias"), bias],
      [t("attention.score"), score], [t("attention.weight_here"), this.weights(query)[key]]];
    if (own !== null) lines.push([t("attention.weight_model"), own]);
    const hidden = bias === -Infinity;
    this.why.replaceChildren(panel(t("attention.why", {query: `${query} ${this.queryLabels[query]}`, key: `${key} ${this.keyLabels[key]}`}),
      el("div", {class: "att-why"},
        el("div", {}, el("p", {class: "att-formula"}, "Pᵢⱼ = softmaxⱼ(", el("i", {}, "scale"), " · Σᵢ qᵢ kᵢ + ", el("i", {}, "bias"), ")"),
          table([t("attention.step"), t("attention.number")], lines, {name: "attention-score", digits: 6}),
          hidden ? note(t("attention.hidden")) : note(t("attention.why_note")),
          row(button(t(byDimension ? "attention.sort_size" : "attention.sort_order"), () => {
            this.context.state.set({dimensions: byDimension ? null : "order"});
            this.showWhy(query, key);
          }))),
        el("div", {class: "scroll att-dimensions", tabindex: 0, role: "region", "aria-label": t("attention.by_dimension")},
          bars({items, name: "attention-dimensions", ariaLabel: t("attention.by_dimension")})))));
  }

  // ---- rollout and flow

  rollout() {
    const content = el("div"), box = panel(t("attention.rollout"), note(t("attention.rollout_note")), content);
    if (this.found.whole) this.showRollout(content);
    else {
      content.append(button(t("attention.compute"), async () => {
        if (await this.long("attention_rollout", {}, t("attention.rollout"), content)) this.showRollout(content);
      }));
    }
    return box;
  }

  showRollout(content) {
    const {layers: L, cross} = this.found, isShort = this.T <= MOST_FLOWS && !cross;
    this.sources = this.found.whole ? this.found.rollout_tokens.map(tokenText) : this.queryLabels;
    const columns = this.sources.length, size = this.T * columns;
    let layer = clamp(this.context.state.get("rollout", L - 1), L), position = this.query, flows = null;
    const map = el("div"), reaches = el("div"), flow = el("div"), choices = el("div");
    const show = () => {
      const common = {label: t(flows ? "attention.flow_share" : "attention.share"), name: flows ? "flows" : `rollout-${layer}`, rows: this.T, columns,
        maxHeight: 640, limits: [0, 1], rowLabels: this.queryLabels, columnLabels: this.sources, onclick: i => pick(i)};
      if (flows) this.rolled = heatMap({...common, data: flows, offset: 0});
      else if (this.found.whole) this.rolled = heatMap({...common, data: this.found.rollout.data, offset: layer * size});
      else this.rolled = zoomMap({...common, ask: place => this.context.ask("attention_tile", {...fields(this.name), layer, kind: "rollout", ...place})});
      map.replaceChildren(this.rolled);
      choices.replaceChildren(row(select(t("attention.after_layer"), Array.from({length: L}, (_, n) => ({value: n, label: String(n)})), layer, value => {
        layer = Number(value);
        flows = null;
        this.context.state.set({rollout: layer});
        show();
      }), isShort && button(t("attention.all_flows"), all, {pressed: flows !== null})));
      pick(position);
    };
    const all = async () => {
      const found = flows ? null : await this.long("attention_flows", {}, t("attention.all_flows"), choices);
      flows = found && found.flows.data;
      layer = flows ? L - 1 : layer;
      show();
    };
    const pick = async i => {
      position = i;
      const share = this.found.whole ? this.found.rollout.data.subarray(layer * size + i * columns, layer * size + (i + 1) * columns)
        : (await this.context.ask("attention_reaches", {...fields(this.name), layer, position})).share.data;
      if (this.context.signal.aborted || position !== i) return;
      this.rolled.select(i, 0);
      reaches.replaceChildren(panel(t("attention.reaches", {token: this.queryLabels[i], n: i, layer}), this.shares(share, "rollout-row")));
      if (flows) this.showFlow(i, flows.subarray(i * this.T, (i + 1) * this.T), flow);
      else flow.replaceChildren(isShort ? button(t("attention.flow"), () => this.flow(i, flow)) : cross ? "" : note(t("attention.flow_limit", {n: MOST_FLOWS})));
    };
    content.replaceChildren(choices, el("div", {class: "att-top"}, map, el("div", {}, reaches, flow)));
    show();
  }

  // Ask a long question, with a progress bar; an error is shown in `place` -> its answer, or null
  async long(name, more, label, place) {
    const progress = this.context.progress(label);
    try {
      return await this.context.ask(name, {...fields(this.name), ...more}, {report: progress.update, signal: progress.signal});
    } catch (error) {
      if (error.name !== "AbortError") place.append(note(error.offline ? t("shell.offline") : error.message));
      return null;
    } finally {
      progress.done();
    }
  }

  shares(share, name) {
    const order = Array.from(share.keys()).sort((a, b) => share[b] - share[a]).filter(i => share[i] > 0).slice(0, MOST_BARS);
    return bars({items: order.map(i => ({label: `${i} ${this.sources[i]}`, value: share[i]})), limits: [0, Math.max(1e-9, share[order[0]])], name});
  }

  async flow(position, place) {
    const found = await this.long("attention_flow", {position}, t("attention.flow"), place);
    if (found) this.showFlow(position, found.flow.data, place);
  }

  showFlow(position, flow, place) {
    place.replaceChildren(panel(t("attention.flow_of", {token: this.queryLabels[position], n: position}), this.shares(flow, "attention-flow"), note(t("attention.flow_note"))));
  }
}

const clamp = (value, size) => Math.max(0, Math.min(size - 1, Math.trunc(value)));

// The name of an attention for people: of a single stack, of the encoder, the decoder, across
function named({name, cross}, all) {
  if (cross) return t("attention.cross");
  const stacks = all.filter(each => !each.cross);
  if (stacks.length === 2) return t(name === stacks[0].name ? "attention.encoder" : "attention.decoder");
  return name;
}

// most: the value of the full color; null: the head's largest. The square root of the weights, so that small ones are visible in a small picture
function thumbnail({rows, columns, data, offset}, colors, most) {
  const canvas = el("canvas", {width: columns, height: rows, "aria-hidden": "true"}), image = new ImageData(columns, rows);
  if (most === null) most = data.subarray(offset, offset + rows * columns).reduce((a, b) => Math.max(a, b), 1e-12);
  for (let n = 0, at = 0; n < rows * columns; n++, at += 4) {
    const [r, g, b] = colors[Math.max(0, Math.min(255, Math.round(255 * Math.sqrt(data[offset + n] / most))))];
    image.data[at] = r;
    image.data[at + 1] = g;
    image.data[at + 2] = b;
    image.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// ---- a matrix too large to be sent: one tile of a pyramid at a time

// o: heatMap's options, with ask({level, row, column}) -> Promise of {mean, max}
function zoomMap(o) {
  const top = Math.max(0, Math.ceil(Math.log2(Math.max(o.rows, o.columns) / TILE)));
  const kept = (o.state ? o.state.get("zoom", "") : "").split(",").map(Number);
  const starts = kept.length === 3 && kept.every(Number.isInteger);
  let place = {level: top, row: 0, column: 0}, kind = "max", tile = null, chosen = null, asked = 0;
  const place_ = el("span", {class: "facts"}), holder = el("div", {class: "att-zoomed"});
  const cells = n => Math.ceil(n / 2 ** place.level);

  function go(level, row, column) {  // row, column: of the first cell, at this level
    level = Math.max(0, Math.min(top, level));
    const last = n => Math.max(0, Math.ceil(n / 2 ** level) - TILE);
    if (o.state) o.state.set({zoom: null});
    place = {level, row: Math.max(0, Math.min(last(o.rows), Math.round(row))), column: Math.max(0, Math.min(last(o.columns), Math.round(column)))};
    if (o.state && level < top) o.state.set({zoom: [level, place.row, place.column].join(",")});
    return show();
  }
  // Zoom around a cell, which becomes the middle
  function zoom(by, i = place.row + TILE / 2, j = place.column + TILE / 2) {
    const factor = 2 ** by;
    return go(place.level - by, Math.min(i, cells(o.rows)) * factor - TILE / 2, Math.min(j, cells(o.columns)) * factor - TILE / 2);
  }
  const pan = (down, right) => go(place.level, place.row + (down * TILE) / 2, place.column + (right * TILE) / 2);

  async function show() {
    const mine = ++asked, answer = await o.ask(place);
    if (mine !== asked) return;
    tile = answer;
    draw();
  }

  function draw() {
    const values = tile[kind], [rows, columns] = values.shape, size = 2 ** place.level;
    const labels = (all, start, count) => Array.from({length: count}, (_, n) => `${(start + n) * size} ${all[(start + n) * size] ?? ""}`);
    const map = heatMap({...o, rows, columns, data: values.data, offset: 0, value: undefined, ask: undefined,
      rowLabels: labels(o.rowLabels, place.row, rows), columnLabels: labels(o.columnLabels, place.column, columns),
      selected: chosen && [Math.floor(chosen[0] / size) - place.row, Math.floor(chosen[1] / size) - place.column],
      label: size === 1 ? o.label : `${o.label}, ${t(`attention.${kind}_of`, {n: size})}`,
      onclick: (i, j) => (size === 1 ? o.onclick(place.row + i, place.column + j) : zoom(Math.min(2, place.level), place.row + i, place.column + j))});
    holder.replaceChildren(map);
    const end = (start, count, n) => Math.min(n, (start + count) * size) - 1;
    place_.textContent = t("attention.shown", {rows: `${place.row * size}–${end(place.row, rows, o.rows)}`, columns: `${place.column * size}–${end(place.column, columns, o.columns)}`, n: size});
    whole.dataset.level = place.level;
    whole.dataset.row = place.row * size;
    whole.dataset.column = place.column * size;
  }

  const act = (label, title, act) => button(label, act, {title, "aria-label": title, class: "small"});
  const whole = el("div", {class: "att-zoom"},
    row(act("−", t("shell.zoom_out"), () => zoom(-1)), act("+", t("shell.zoom_in"), () => zoom(1)),
      act("←", t("attention.left"), () => pan(0, -1)), act("→", t("attention.right"), () => pan(0, 1)),
      act("↑", t("attention.up"), () => pan(-1, 0)), act("↓", t("attention.down"), () => pan(1, 0)),
      select(t("attention.pool"), ["max", "mean"].map(each => ({value: each, label: t(`attention.pool_${each}`)})), kind, value => {
        kind = value;
        draw();
      }), place_), holder);
  whole.select = (i, j) => {
    chosen = [i, j];
    if (tile) draw();
  };
  if (starts) go(...kept);
  else show();
  return whole;
}

// ---- lines from each query to the keys that it looks at, as wide as their weights

// o: {queries, keys, weights(q), whole, onhover(q), onchoose(q), onkey(key), name} -> element with select(q)
function lineView(o) {
  const T = o.queries.length, S = o.keys.length, height = Math.max(T, S) * LINE;
  const picture = svg("svg", {class: "att-links", "aria-hidden": "true"});
  let chosen = 0, hovered = null, hoveredKey = null, focused = null, frame = 0, width = 120;
  const [down, across] = [height / T, height / S];  // the shorter text is spread over the same height
  const word = (text, i, side, step) => {
    const each = el("button", {type: "button", class: `att-word att-${side}`, tabindex: -1, title: `${i} ${text}`}, text);
    each.style.top = `${(i + 0.5) * step - LINE / 2}px`;
    return each;
  };
  const left = o.queries.map((text, q) => word(text, q, "query", down)), right = o.keys.map((text, key) => word(text, key, "key", across));
  const inner = el("div", {class: "att-words"}, left, picture, right);
  inner.style.height = `${height}px`;
  const scroller = el("div", {class: "att-lines", tabindex: 0, role: "region", "aria-label": t("attention.lines_help")}, inner);
  const soon = () => {
    if (!frame) frame = requestAnimationFrame(draw);
  };
  const index = (event, kind) => {
    const each = event.target.closest(`.att-${kind}`);
    return each ? (kind === "query" ? left : right).indexOf(each) : null;
  };
  inner.addEventListener("mouseover", event => {
    const q = index(event, "query"), key = index(event, "key");
    if (q !== hovered) o.onhover(q);
    [hovered, hoveredKey] = [q, o.whole ? key : null];
    soon();
  });
  inner.addEventListener("mouseleave", () => {
    hovered = hoveredKey = null;
    o.onhover(null);
    soon();
  });
  inner.addEventListener("click", event => {
    const q = index(event, "query"), key = index(event, "key");
    if (q !== null) o.onchoose(q);
    else if (key !== null) o.onkey(key);
  });
  scroller.addEventListener("keydown", event => {
    const to = {ArrowUp: chosen - 1, ArrowDown: chosen + 1, Home: 0, End: T - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    o.onchoose(clamp(to, T));
    const y = chosen * down;
    if (y < scroller.scrollTop || y > scroller.scrollTop + scroller.clientHeight - LINE) scroller.scrollTop = y - scroller.clientHeight / 2;
  });
  scroller.addEventListener("scroll", soon, {passive: true});

  function visible(n, step) {
    const from = Math.floor(scroller.scrollTop / step), count = Math.ceil((scroller.clientHeight || 400) / step);
    return [Math.max(0, Math.min(n, from)), Math.min(n, from + count + 1)];
  }

  function links() {
    const found = [];
    const add = q => {
      const weights = o.weights(q), most = weights.reduce((a, b) => Math.max(a, b)), least = Math.max(1e-3, most / 20);
      weights.forEach((weight, key) => weight >= least && found.push([q, key, weight, weight / most]));
    };
    if (hovered !== null) add(hovered);
    else if (hoveredKey !== null) {
      for (let q = 0; q < T; q++) found.push([q, hoveredKey, o.weights(q)[hoveredKey], o.weights(q)[hoveredKey]]);
    } else {
      const [from, to] = visible(T, down);
      for (let q = from; q < to; q++) add(q);
      found.sort((a, b) => b[2] - a[2]);
      found.length = Math.min(found.length, MOST_LINES);
    }
    return found;
  }

  function draw() {
    frame = 0;
    width = picture.clientWidth || width;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", height);
    const focus = hovered ?? (hoveredKey === null ? chosen : null);
    picture.replaceChildren(...links().map(([q, key, weight, share]) => svg("line", {class: q === focus ? "att-link att-on" : "att-link", x1: 0, y1: (q + 0.5) * down, x2: width, y2: (key + 0.5) * across,
      "stroke-width": (0.5 + 6 * weight).toFixed(2), "stroke-opacity": Math.min(1, (hovered === null && hoveredKey === null && q !== chosen ? 0.55 : 1) * (0.08 + 0.92 * share)).toFixed(3)},
      svg("title", {}, `${o.queries[q]} → ${o.keys[key]}: ${number(weight)}`))));
    if (focused !== null) left[focused].classList.remove("att-on");
    if (focus !== null) left[focused = focus].classList.add("att-on");
    const weights = focus === null ? null : o.weights(focus), [from, to] = visible(S, across);
    for (let key = from; key < to; key++) right[key].style.setProperty("--share", weights ? `${Math.round(100 * weights[key])}%` : "0%");
  }

  new ResizeObserver(soon).observe(scroller);
  const whole = saveable(scroller, {name: o.name, svg: () => svgText(picture), png: () => svgPicture(picture),
    json: () => ({query: chosen, weights: Array.from(o.weights(chosen))}),
    rows: () => [["key", "token", "weight"], ...Array.from(o.weights(chosen), (weight, key) => [key, o.keys[key], weight])]});
  whole.select = q => {
    chosen = q;
    soon();
  };
  requestAnimationFrame(() => {
    scroller.scrollTop = chosen * down - 200;
  });
  return whole;
}
