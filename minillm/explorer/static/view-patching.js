// Move a value of one run into another and see what becomes of the answer.

import {el, svg, newId, tokenText, number, percent} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {bars, scatter} from "./chart.js";
import {table} from "./table.js";
import {button, select, slider, panel, row, note, setPressed} from "./controls.js";
import {color, rgb, inkOn} from "./color.js";
import {PatchGrids} from "./patch-grid.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {isOffline} from "./api.js";
import {mark, forgetOthers} from "./question.js";
import {t} from "./messages.js";

const KINDS = ["residual", "attention", "cross_attention", "feed_forward", "head"];
const SIDES = ["corrupt", "clean"];
const OFF = 0.25; // an estimate this far from the exact effect is marked
const MOST_AT_ONCE = 1e10; // parameters × cells of a sweep over all kinds
const WIDEST = 48; // positions of the grids in sight
const otherSide = side => (side === "clean" ? "corrupt" : "clean");
const sameAs = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

export default {
  id: "patching",
  async render(root, context) {
    const view = new Patching(root, context);
    context.signal.addEventListener("abort", () => view.leave(), {once: true});
    await view.start();
  },
};

class Patching {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.sweeps = {clean: null, corrupt: null}; // exact effects of single patches, where measured
    this.asked = 0;
    this.howId = newId("how");
    this.history = [];
  }

  leave() {
    if (this.grids) this.grids.leave();
  }

  get state() {
    return this.context.state;
  }

  // ---- the two texts and the question

  fields() {
    const wanted = {corrupt: this.setup ? this.setup.corrupt.text : this.wantedCorrupt || undefined};
    for (const name of ["token", "against", "position"]) {
      const value = this.state.within(name, -1, -1, 2 ** 31);
      if (value >= 0) wanted[name] = value;
    }
    const stack = this.state.get("stack", "");
    if (stack) wanted.stack = stack;
    return wanted;
  }

  async start() {
    const {context} = this;
    forgetOthers(this.state, context.text, ["token", "against", "position", "patches", "back", "into"]);
    const beside = context.otherText && context.otherText !== context.text ? context.otherText : "";
    this.wantedCorrupt = this.state.get("corrupt", "") || beside;
    try {
      this.setup = await context.ask("patch_setup", this.fields());
    } catch (error) {
      if (this.state.get("stack", "") && error.name !== "AbortError") {  // perhaps of another model
        this.state.set({stack: null});
        return this.start();
      }
      if (!(error.offline && this.wantedCorrupt)) {
        this.root.append(this.texts(null));
        throw error;
      }
      this.wantedCorrupt = "";
      this.setup = await context.ask("patch_setup", {});
    }
    if (context.signal.aborted) return;
    const {setup} = this;
    this.root.append(this.texts(setup));
    if (!setup.aligned) {
      this.root.append(this.unequal());
      this.board();
      return;
    }
    this.into = this.state.get("into", "corrupt") === "clean" ? "clean" : "corrupt";
    this.patches = Object.fromEntries(SIDES.map(side => [side, this.readPatches(side)]));
    this.kinds = KINDS.filter(kind => setup.rows.some(each => each.kind === kind));
    this.kind = [...this.kinds, "all"].includes(this.state.get("kind", "residual")) ? this.state.get("kind", "residual") : "residual";
    this.effectBox = el("div", {class: "patch-effect"});
    this.answerBox = el("div", {class: "patch-answer"});
    this.listBox = el("div", {class: "patch-list"});
    this.gridBox = el("div");
    this.sweepBox = el("div");
    this.root.append(
      panel(t("patching.move"), this.kindBar(), this.gridBox, this.effectBox, this.listBox),
      panel(t("patching.effect_title"), this.answerBox),
      panel(t("patching.sweep_title"), this.sweepBox));
    this.drawGrids();
    this.drawSweep();
    this.root.append(this.paths());
    this.board();
    await this.refresh();
    await this.sweepOffline();
  }

  readPatches(side) {
    const text = this.state.get(side === "corrupt" ? "patches" : "back", "");
    return text ? text.split(";").map(Move.read).filter(move => move && move.fits(this.setup)) : [];
  }

  // Both texts, token above token; a click on a column asks about the prediction there.
  texts(setup) {
    const {context} = this;
    const input = el("input", {type: "text", class: "corrupt-text", spellcheck: "false", autocomplete: "off",
      "aria-label": t("patching.corrupt_text"), value: setup ? setup.corrupt.text : this.wantedCorrupt,
      onchange: () => this.change({corrupt: input.value, patches: null, back: null, token: null, against: null})});
    const box = el("div", {class: "patch-texts"},
      el("div", {class: "text-row"}, el("span", {class: "tag tag-corrupt"}, t("patching.corrupt")), input,
        this.state.get("corrupt", "") && button(t("patching.default_text"), () => this.change({corrupt: null, patches: null, back: null, token: null, against: null}))));
    if (!setup || !setup.aligned) return panel(t("patching.texts"), box);
    const differs = new Set(setup.differs);
    const isSource = setup.clean.source && setup.stack === setup.stacks[setup.stacks.length - 1];
    const head = (side, tokens) => el("tr", {}, el("th", {scope: "row"}, el("span", {class: `tag tag-${side}`}, t(`patching.${side}`))),
      tokens.map((token, i) => el("td", {}, el("span", {class: `token${!isSource && differs.has(i) ? " differs" : ""}`}, tokenText(token)))));
    const asks = el("tr", {}, el("th", {scope: "row"}, t("patching.asked_at")), setup.clean.tokens.map((token, i) =>
      el("td", {}, setup.stacks.length > 1 && !isSource ? null : el("button", {type: "button", class: "ask-at", "aria-pressed": String(i === setup.position),
        title: t("patching.ask_here", {token: tokenText(token)}), "aria-label": t("patching.ask_here", {token: `${i} ${tokenText(token)}`}),
        onclick: () => this.change({position: i, token: null, against: null})}, i === setup.position ? "▲" : "△"))));
    const sources = isSource ? [el("div", {class: "text-row"}, el("span", {class: "tag tag-clean"}, t("patching.source")), setup.clean.source.map(this.sourceToken(setup, "corrupt"))),
      el("div", {class: "text-row"}, el("span", {class: "tag tag-corrupt"}, t("patching.source")), setup.corrupt.source.map(this.sourceToken(setup, "clean")))] : [];
    return panel(t("patching.texts"), box, sources,
      el("div", {class: "scroll aligned", tabindex: 0, role: "region", "aria-label": t("patching.aligned")},
        el("table", {}, el("tbody", {}, head("clean", setup.clean.tokens), isSource ? null : head("corrupt", setup.corrupt.tokens), asks))),
      this.question(setup));
  }

  sourceToken(setup, other) {
    return (token, i) => el("span", {class: `token${setup[other].source[i] !== token ? " differs" : ""}`}, tokenText(token));
  }

  question(setup) {
    const options = new Map();
    for (const answer of [setup.clean.answer, setup.corrupt.answer]) answer.top.forEach(each => options.set(each.id, each.name));
    for (const each of [setup.token, setup.other]) if (each) options.set(each.id, each.name);
    const list = [...options].map(([id, name]) => ({value: id, label: tokenText(name)}));
    const value = side => number(setup[side].answer.value);
    return el("div", {},
      row(select(t("patching.answer"), list, setup.token.id, id => this.change({token: id, against: setup.other && String(setup.other.id) === id ? setup.token.id : setup.other && setup.other.id})),
        select(t("patching.against"), list, setup.other ? setup.other.id : -1, id => this.change({against: id, token: String(setup.token.id) === id ? setup.other.id : setup.token.id})),
        setup.stacks.length > 1 && select(t("patching.stack"), setup.stacks, setup.stack, stack => this.change({stack, patches: null, back: null}))),
      note(t("patching.values", {clean: value("clean"), corrupt: value("corrupt"), token: tokenText(setup.token.name), other: tokenText(setup.other ? setup.other.name : "")})));
  }

  change(changes) {
    this.state.set({...changes, of: mark(this.context.text)});
    this.again();
  }

  // Render the view anew with the state as it is now.
  again() {
    this.leave();
    this.root.replaceChildren();
    const next = new Patching(this.root, this.context);
    this.context.signal.addEventListener("abort", () => next.leave(), {once: true});
    next.start().catch(error => {
      if (!this.context.signal.aborted && error.name !== "AbortError") {
        this.root.append(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
      }
    });
  }

  // Texts of different lengths can't be aligned: offer some that can.
  unequal() {
    const {setup} = this;
    const line = side => el("div", {class: "text-row"}, el("span", {class: `tag tag-${side}`}, `${t(`patching.${side}`)} · ${setup[side].tokens.length}`),
      setup[side].tokens.map(token => el("span", {class: "token"}, tokenText(token))));
    const counts = {clean: setup.clean.tokens.length, corrupt: setup.corrupt.tokens.length};
    return panel(t("patching.unequal_title"), el("p", {role: "alert"}, t("patching.unequal", counts)), line("clean"), line("corrupt"),
      setup.suggestions.length > 0 && note(t("patching.choose_other")),
      row(setup.suggestions.map(each => button(`${tokenText(each.old)} → ${tokenText(each.new)}`, () => this.change({corrupt: each.text, token: null, against: null, patches: null, back: null}), {title: each.text}))));
  }

  // ---- the grids

  kindBar() {
    const choices = el("div", {class: "row kinds", role: "group", "aria-label": t("patching.kind")}, [...this.kinds, "all"].map(kind =>
      button(t(`patching.kind_${kind}`), event => {
        this.kind = kind;
        this.state.set({kind: kind === "residual" ? null : kind});
        choices.querySelectorAll("button").forEach(each => setPressed(each, each === event.currentTarget));
        this.drawGrids();
        this.drawSweep();
      }, {pressed: kind === this.kind, dataset: {kind}})));
    return [choices, el("p", {class: "note how", id: this.howId}, t("patching.how"))];
  }

  // -> indices of the setup's rows in sight, the highest layer first
  shownRows() {
    const {rows} = this.setup;
    return rows.map((_, i) => i).filter(i => this.kind === "all" || rows[i].kind === this.kind).reverse();
  }

  rowName(i) {
    const {kind, layer, head} = this.setup.rows[i];
    return t(`patching.row_${kind}`, {layer, head});
  }

  shortName(i) {
    const {kind, layer, head} = this.setup.rows[i];
    return {residual: `${layer} ⟶`, attention: `${layer} ${t("patching.short_attention")}`, cross_attention: `${layer} ${t("patching.short_cross")}`,
      feed_forward: `${layer} ${t("patching.short_ff")}`, head: `${layer}.${head}`}[kind];
  }

  drawGrids() {
    if (this.grids) this.grids.leave();
    const {setup} = this;
    const shown = this.shownRows(), T = setup.clean.tokens.length;
    const focus = setup.differs.length ? setup.differs[setup.differs.length - 1] : setup.position;
    this.first = T <= WIDEST ? 0 : Math.max(0, Math.min(T - WIDEST, this.first ?? focus - WIDEST / 2));
    const columns = [this.first, Math.min(T, this.first + WIDEST)];
    this.grids = new PatchGrids({
      rows: shown.map((i, r) => ({label: this.rowName(i), short: this.shortName(i), starts: r > 0 && setup.rows[shown[r - 1]].layer !== setup.rows[i].layer})),
      columns, tokens: {clean: setup.clean.tokens, corrupt: setup.corrupt.tokens}, differs: new Set(setup.differs), position: setup.position,
      effect: (side, r, c) => this.effect(side, shown[r], c),
      patched: (side, r, c) => this.patchedBy(side, shown[r], c),
      say: (side, r, c, short) => this.cellName(side, shown[r], c, short),
      drop: (from, cells, anchor, target) => this.drop(from, cells, anchor, target, shown),
      remove: (side, r, c) => this.removeAt(side, shown[r], c),
      announce: this.context.announce, described: this.howId,
    });
    this.gridBox.replaceChildren(T > WIDEST ? row(slider(t("patching.from_position"), {min: 0, max: T - WIDEST, value: this.first}, value => {
        this.first = value;
        clearTimeout(this.sliding);
        this.sliding = setTimeout(() => this.drawGrids(), 80);
      })) : "",
      this.grids.element, this.grids.status, this.legend());
    requestAnimationFrame(() => this.grids.reveal(focus));
  }

  legend() {
    const bubble = (kind, size) => {
      const mark = el("span", {class: `bubble ${kind}`});
      mark.style.setProperty("--size", size);
      return el("span", {class: "legend-cell", "aria-hidden": "true"}, mark);
    };
    return el("div", {class: "legend patch-legend"}, bubble("", 0.8), t("patching.legend_estimate"), bubble("exact", 0.8), t("patching.legend_exact"),
      bubble("less exact", 0.8), t("patching.legend_less"), el("span", {class: "legend-cell patched", "aria-hidden": "true"}), t("patching.legend_patched"));
  }

  // The effect of patching one cell of the run `side`: measured if it was, else by the gradient.
  effect(side, i, c) {
    const way = this.way(side);
    if (!way) return null;
    const exact = this.exactAt(side, i, c);
    const estimate = this.setup.estimate[side];
    return exact !== null ? {share: exact, exact: true} : {share: estimate.data[i * estimate.shape[1] + c] / way, exact: false};
  }

  exactAt(side, i, c) {
    const sweep = this.sweeps[side];
    if (!sweep) return null;
    const value = sweep.values[i * this.setup.clean.tokens.length + c];
    return Number.isFinite(value) ? (value - sweep.before) / sweep.way : null;
  }

  estimateAt(side, i, c) {
    const estimate = this.setup.estimate[side];
    return estimate.data[i * estimate.shape[1] + c] / this.way(side);
  }

  way(side) {
    return this.setup[otherSide(side)].answer.value - this.setup[side].answer.value;
  }

  cellName(side, i, c, short = false) {
    const name = t("patching.cell", {row: this.rowName(i), position: c, token: tokenText(this.setup[side].tokens[c])});
    if (short) return name;
    const found = this.effect(side, i, c);
    if (!found) return name;
    const key = found.exact ? "patching.cell_exact" : "patching.cell_estimate";
    return t(key, {cell: name, share: percent(found.share)});
  }

  patchedBy(side, i, c) {
    const name = this.setup.rows[i].name;
    const move = this.patches[side].findLast(each => each.name === name && each.places.includes(c));
    return move ? t("patching.patched_with", {what: this.placeName(move.source, [move.sources[move.places.indexOf(c)]], otherSide(side))}) : null;
  }

  placeName(name, positions, side) {
    const i = this.setup.rows.findIndex(each => each.name === name);
    const tokens = positions.length > 3 ? `${positions.length} ${t("patching.positions")}` : positions.map(c => `${c} ${tokenText(this.setup[side].tokens[c])}`).join(", ");
    return t("patching.cell_of", {row: this.rowName(i), tokens});
  }

  // ---- patches

  drop(from, cells, anchor, target, shown) {
    const {rows} = this.setup;
    const into = otherSide(from), T = this.setup.clean.tokens.length;
    const [dr, dc] = [target[0] - anchor[0], target[1] - anchor[1]];
    const bySource = new Map();
    for (const [r, c] of cells) {
      const to = r + dr, place = c + dc;
      if (to < 0 || to >= shown.length || place < 0 || place >= T) continue;
      if (!bySource.has(r)) bySource.set(r, []);
      bySource.get(r).push([c, place]);
    }
    const moves = [];
    for (const [r, pairs] of bySource) {
      const [source, goal] = [rows[shown[r]], rows[shown[r + dr]]];
      if ((source.kind === "head") !== (goal.kind === "head")) {
        this.tell(t("patching.other_shape"));
        return;
      }
      pairs.sort((a, b) => a[1] - b[1]);
      moves.push(new Move(source.name, pairs.map(each => each[0]), goal.name, pairs.map(each => each[1])));
    }
    if (!moves.length) {
      this.tell(t("patching.outside"));
      return;
    }
    this.into = into;
    this.setPatches(into, [...this.patches[into].filter(each => !moves.some(move => move.equals(each))), ...moves]);
  }

  tell(text) {
    this.grids.status.textContent = text;
    this.context.announce(text);
  }

  setPatches(side, patches, {keep = true} = {}) {
    if (keep) this.history.push({side, patches: this.patches[side], into: this.into});
    this.patches[side] = patches;
    this.state.set({of: mark(this.context.text), patches: this.patches.corrupt.join(";") || null, back: this.patches.clean.join(";") || null, into: this.into === "clean" ? "clean" : null});
    this.grids.refresh();
    this.refresh();
  }

  undo() {
    const last = this.history.pop();
    if (!last) return;
    this.into = last.into;
    this.setPatches(last.side, last.patches, {keep: false});
  }

  removeAt(side, i, c) {
    const name = this.setup.rows[i].name;
    const left = this.patches[side].filter(move => !(move.name === name && move.places.includes(c)));
    if (left.length < this.patches[side].length) {
      this.into = side;
      this.setPatches(side, left);
    }
  }

  drawList() {
    const {into} = this;
    const mine = this.patches[into];
    const choice = side => button(t("patching.into", {side: t(`patching.${side}`), n: this.patches[side].length}), () => {
      this.into = side;
      this.state.set({into: side === "clean" ? "clean" : null});
      this.refresh();
    }, {pressed: side === into, dataset: {into: side}});
    const items = mine.map((move, n) => {
      const isStraight = move.source === move.name && sameAs(move.sources, move.places);
      const what = this.placeName(move.source, move.sources, otherSide(into));
      const text = isStraight ? what : t("patching.moved", {what, to: this.placeName(move.name, move.places, into)});
      return el("li", {}, el("span", {class: `tag tag-${otherSide(into)}`}, "→"), el("span", {}, text),
        isStraight ? el("span", {class: "alone", title: t("patching.alone")}, this.aloneShare(move)) : null,
        button("×", () => this.setPatches(into, mine.filter((_, k) => k !== n)), {"aria-label": t("patching.remove", {what: text}), title: t("patching.remove", {what: text})}));
    });
    this.listBox.replaceChildren(
      row(SIDES.map(choice), button(t("patching.undo"), () => this.undo(), {disabled: !this.history.length}),
        button(t("patching.clear"), () => this.setPatches(into, []), {disabled: !mine.length})),
      mine.length ? el("ul", {class: "patches", "aria-label": t("patching.list")}, items) : "");
  }

  // For a start: the place that matters most by the gradient, where the texts aren't asked.
  tryOne() {
    const {setup, into} = this, T = setup.clean.tokens.length;
    const isAsked = c => T > 1 && c === setup.position && setup.differs.some(each => each !== c);
    let best = null;
    for (const i of this.shownRows()) {
      for (let c = 0; c < T; c++) {
        if (!isAsked(c) && (!best || Math.abs(this.estimateAt(into, i, c)) > Math.abs(this.estimateAt(into, ...best)))) best = [i, c];
      }
    }
    const {name} = setup.rows[best[0]];
    this.setPatches(into, [new Move(name, [best[1]], name, [best[1]])]);
  }

  // What a patch does alone: measured if it was, else by the gradient.
  aloneShare(move) {
    const i = this.setup.rows.findIndex(each => each.name === move.name);
    if (!this.way(this.into)) return "";
    const exact = move.places.length === 1 ? this.exactAt(this.into, i, move.places[0]) : null;
    if (exact !== null) return percent(exact);
    return `≈ ${percent(move.places.reduce((sum, c) => sum + this.estimateAt(this.into, i, c), 0))}`;
  }

  // ---- the answer

  async refresh() {
    const asked = ++this.asked;
    const {into, setup} = this;
    this.effectBox.setAttribute("aria-busy", "true");
    this.drawList();
    const patches = this.patches[into];
    const [before, donor] = [setup[into].answer, setup[otherSide(into)].answer];
    if (!patches.length) {
      this.showAnswer({before, donor, after: before, change: 0, effect: 0, estimate: 0});
      return;
    }
    const known = this.sweptAnswer();
    if (known) this.showEffect(known); // the likeliest tokens follow
    let found;
    try {
      found = await this.context.ask("patch_effect", {...this.fields(), token: setup.token.id, against: setup.other ? setup.other.id : undefined, patches: patches.map(String), into});
    } catch (error) {
      if (error.name === "AbortError" || asked !== this.asked) return;
      found = error.offline ? known : null;
      if (!found) {
        this.effectBox.removeAttribute("aria-busy");
        this.effectBox.replaceChildren(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
        this.answerBox.replaceChildren();
        return;
      }
    }
    if (asked !== this.asked || this.context.signal.aborted) return;
    this.showAnswer(found);
    this.context.announce(this.sentence(found));
  }

  // A single patch to the same place has been measured by "run all": a saved page knows it, too.
  sweptAnswer() {
    const {into, setup} = this;
    const patches = this.patches[into], sweep = this.sweeps[into];
    if (!sweep || patches.length !== 1) return null;
    const [move] = patches;
    if (move.source !== move.name || move.places.length !== 1 || move.sources[0] !== move.places[0]) return null;
    const i = setup.rows.findIndex(each => each.name === move.name), T = setup.clean.tokens.length;
    const cell = i * T + move.places[0];
    if (!Number.isFinite(sweep.values[cell])) return null;
    const before = setup[into].answer, donor = setup[otherSide(into)].answer;
    const after = {value: sweep.values[cell], p: sweep.p[cell], p_other: setup.other ? sweep.other[cell] : null, top: null};
    const change = after.value - before.value;
    return {before, donor, after, change, effect: change / sweep.way, estimate: setup.estimate[into].data[cell]};
  }

  sentence({effect, change, estimate}) {
    if (effect === null) return t("patching.no_way");
    return t("patching.said", {effect: percent(effect), change: number(change), estimate: number(estimate)});
  }

  showEffect({before, donor, change, effect, estimate}) {
    const {into} = this;
    const way = donor.value - before.value;
    const guess = way ? estimate / way : null;
    const isFar = effect !== null && guess !== null && Math.abs(guess - effect) > OFF;
    const isEmpty = !this.patches[into].length;
    this.effectBox.replaceChildren(el("div", {class: "effect-words"},
      el("p", {class: "effect-line"}, el("strong", {class: "effect-number", dataset: {effect: effect === null ? "" : String(effect), patches: this.patches[into].length}}, effect === null ? "–" : percent(effect)),
        " ", effect === null ? t("patching.no_way") : t("patching.effect_says", {to: t(`patching.${otherSide(into)}`)})),
      isEmpty ? note(t("patching.no_patches"), " ", button(t("patching.try_one"), () => this.tryOne(), {dataset: {try: "one"}})) : el("p", {class: isFar ? "warning" : "note", dataset: {far: String(isFar)}}, isFar ? t("patching.estimate_far", {estimate: percent(guess), off: percent(Math.abs(guess - effect))})
        : t("patching.estimate_near", {estimate: guess === null ? "–" : percent(guess), change: number(change), guess: number(estimate)}))),
      this.gauge(effect, isEmpty ? null : guess));
  }

  showAnswer(found) {
    const {setup, into} = this;
    const {before, after, donor} = found;
    this.effectBox.removeAttribute("aria-busy");
    this.showEffect(found);
    const other = setup.other ? tokenText(setup.other.name) : null, token = tokenText(setup.token.name);
    const side = name => t(`patching.run_${name}`);
    const rows = [
      [t("patching.difference", {token, other: other ?? "–"}), before.value, after.value, donor.value],
      [`p(${token})`, before.p, after.p, donor.p],
      ...(other === null ? [] : [[`p(${other})`, before.p_other, after.p_other, donor.p_other]])];
    const tops = answer => answer.top ? bars({items: answer.top.map(each => ({label: tokenText(each.name), value: each.p, text: percent(each.p),
      color: each.id === setup.token.id ? "var(--clean)" : setup.other && each.id === setup.other.id ? "var(--corrupt)" : "var(--muted)"})),
      limits: [0, 1], name: "answers", ariaLabel: t("patching.top")}) : note(t("shell.offline"));
    this.answerBox.replaceChildren(el("div", {class: "grid answers"},
      table([t("patching.quantity"), t("patching.before", {side: side(into)}), t("patching.after"), t("patching.donor", {side: side(otherSide(into))})], rows, {name: "patch", caption: t("patching.answers")}),
      [["before", before, "before_title"], ["after", after, "after_title"]].map(([name, answer, title]) =>
        el("div", {class: `tops tops-${name}`}, el("h4", {}, t(`patching.${title}`)), tops(answer)))));
  }

  // From the one answer to the other: where the exact effect lies, and where the gradient expects it.
  gauge(effect, guess) {
    const width = Math.max(280, Math.min(640, this.root.clientWidth - 70)), height = 92, left = 24, right = 24;
    const lo = Math.min(-0.25, effect ?? 0, guess ?? 0), hi = Math.max(1.25, effect ?? 0, guess ?? 0);
    const x = value => left + ((value - lo) / (hi - lo)) * (width - left - right);
    const {into} = this;
    const end = (value, side, anchor) => [
      svg("line", {class: `gauge-end gauge-${side}`, x1: x(value), x2: x(value), y1: 34, y2: 58}),
      svg("text", {class: "gauge-label", x: x(value), y: 78, "text-anchor": anchor}, t(`patching.${side}_answer`))];
    const picture = svg("svg", {class: "gauge", viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": t("patching.gauge", {effect: effect === null ? "–" : percent(effect), estimate: guess === null ? "–" : percent(guess)})},
      svg("line", {class: "axis", x1: left, x2: width - right, y1: 46, y2: 46}),
      svg("line", {class: `gauge-way gauge-${otherSide(into)}`, x1: x(0), x2: x(effect ?? 0), y1: 46, y2: 46}),
      ...end(0, into, "middle"), ...end(1, otherSide(into), "middle"),
      guess === null ? "" : svg("path", {class: "gauge-guess", d: `M${x(guess)} 36 l9 10 l-9 10 l-9 -10 z`}, svg("title", {}, t("patching.by_gradient"))),
      effect === null ? "" : svg("circle", {class: "gauge-exact", cx: x(effect), cy: 46, r: 8}, svg("title", {}, t("patching.exactly"))),
      effect === null ? "" : svg("text", {class: "gauge-label strong", x: x(effect), y: 22, "text-anchor": "middle"}, percent(effect)));
    return saveable(el("div", {class: "gauge-box"}, picture), {name: "patch-effect", svg: () => svgText(picture), png: () => svgPicture(picture),
      json: () => ({effect, estimate: guess, patches: this.patches[into].map(String), into})});
  }

  // ---- run all

  drawSweep() {
    const {setup, into} = this;
    const done = this.sweeps[into];
    const heading = row(SIDES.map(side => button(t("patching.run_all", {side: t(`patching.${side}`)}), () => this.runAll(side), {dataset: {sweep: side}})));
    if (!done) {
      this.sweepBox.replaceChildren(note(t("patching.sweep_help")), heading);
      this.heat = null;
      return;
    }
    const shown = this.shownRows(), T = setup.clean.tokens.length;
    const side = into;
    const modes = {exact: (i, j) => this.exactAt(side, shown[i], j) ?? NaN, estimate: (i, j) => this.estimateAt(side, shown[i], j),
      difference: (i, j) => this.estimateAt(side, shown[i], j) - (this.exactAt(side, shown[i], j) ?? NaN)};
    const mode = modes[this.mode] ? this.mode : "exact";
    const value = modes[mode];
    const apply = (i, j) => {
      const {name} = setup.rows[shown[i]];
      this.into = side;
      const move = new Move(name, [j], name, [j]);
      if (!this.patches[side].some(each => each.equals(move))) this.setPatches(side, [...this.patches[side], move]);
    };
    this.heat = heatMap({rows: shown.length, columns: T, value, signed: true, limits: this.sweepLimits(side, shown), name: `patching-${side}-${mode}`,
      rowLabels: shown.map(i => this.shortName(i)), columnLabels: setup[side].tokens.map(tokenText), label: t("patching.in_percent", {what: t(`patching.mode_${mode}`)}), onclick: apply,
      cellText: (i, j) => (Math.abs(value(i, j)) >= 0.005 ? (100 * value(i, j)).toFixed(0).replace("-", "−") : ""),
      describe: (i, j) => [this.cellName(side, shown[i], j), `${t("patching.by_gradient")}: ${percent(this.estimateAt(side, shown[i], j))}`],
      ariaLabel: t("patching.heat_label", {mode: t(`patching.mode_${mode}`)})});
    const pairs = shown.flatMap(i => Array.from({length: T}, (_, j) => ({x: this.exactAt(side, i, j), y: this.estimateAt(side, i, j), i, j}))).filter(p => p.x !== null);
    const rho = correlation(pairs.map(p => p.x), pairs.map(p => p.y));
    const worst = pairs.reduce((a, p) => (Math.abs(p.y - p.x) > Math.abs(a.y - a.x) ? p : a), pairs[0] || {x: 0, y: 0, i: 0, j: 0});
    const bar = el("div", {class: "row", role: "group", "aria-label": t("patching.shown")}, Object.keys(modes).map(name => button(t(`patching.mode_${name}`), () => {
      this.mode = name;
      this.drawSweep();
    }, {pressed: name === mode})));
    this.sweepBox.replaceChildren(heading, bar,
      el("p", {class: "correlation", dataset: {correlation: rho === null ? "" : String(rho)}}, t("patching.correlation", {rho: rho === null ? "–" : number(rho, 3), n: number(pairs.length)}), " ",
        pairs.length ? t("patching.worst", {cell: this.cellName(side, worst.i, worst.j, true), exact: percent(worst.x), estimate: percent(worst.y)}) : ""),
      el("div", {class: "grid"}, this.heat, pairs.length <= 3000 ? scatter({points: pairs.map(p => ({x: p.x, y: p.y, label: this.cellName(side, p.i, p.j, true), color: Math.abs(p.y - p.x) > OFF ? "var(--bad)" : undefined})),
        xLabel: t("patching.exact_effect"), yLabel: t("patching.estimated_effect"), diagonal: true, onclick: k => apply(shown.indexOf(pairs[k].i), pairs[k].j), name: "patching-scatter",
        ariaLabel: t("patching.scatter")}) : ""));
  }

  sweepLimits(side, shown) {
    const T = this.setup.clean.tokens.length;
    const most = shown.reduce((a, i) => Array.from({length: T}).reduce((b, _, j) => Math.max(b, Math.abs(this.exactAt(side, i, j) ?? 0), Math.abs(this.estimateAt(side, i, j))), a), 1e-9);
    return [-Math.min(most, 1.5), Math.min(most, 1.5)];
  }

  async runAll(side) {
    const {setup, context} = this;
    const T = setup.clean.tokens.length, n = setup.rows.length * T;
    const [before, donor] = [setup[side].answer.value, setup[otherSide(side)].answer.value];
    const sweep = this.sweeps[side] || {values: new Float64Array(n).fill(NaN), p: new Float64Array(n), other: new Float64Array(n), before, way: donor - before || 1};
    this.sweeps[side] = sweep;
    // Of a large model only the kind in sight is measured.
    const some = this.kind !== "all" && context.info.n_parameters * n > MOST_AT_ONCE && !isOffline ? {kinds: [this.kind]} : {};
    const measured = setup.rows.map((_, i) => i).filter(i => !some.kinds || setup.rows[i].kind === this.kind);
    this.into = side;
    this.drawList();
    this.drawSweep();
    const fill = (start, numbers) => {
      for (let k = 0; k < numbers.shape[0]; k++) {
        const cell = measured[Math.floor((start + k) / T)] * T + ((start + k) % T);
        [sweep.values[cell], sweep.p[cell], sweep.other[cell]] = numbers.data.subarray(3 * k, 3 * k + 3);
      }
    };
    const progress = context.progress(t("patching.running"));
    let drawn = 0, failed = null;
    try {
      const found = await context.ask("patch_sweep", {...this.fields(), ...some, into: side}, {signal: progress.signal, report: (done, total, partial) => {
        progress.update(done, total);
        if (partial) fill(partial.start, partial.numbers);
        if (performance.now() - drawn > 120 && this.heat) {
          drawn = performance.now();
          this.heat.redraw();
        }
      }});
      fill(0, {shape: [measured.length * T], data: found.numbers.data});
      context.announce(t("patching.sweep_done", {n: number(measured.length * T)}));
    } catch (error) {
      if (error.name !== "AbortError") {
        failed = error.offline ? null : error;
        if (sweep.values.every(Number.isNaN)) this.sweeps[side] = null;
      }
    } finally {
      progress.done();
      if (!context.signal.aborted) {
        this.drawSweep();
        this.grids.refresh();
        this.drawList();
        if (failed) this.sweepBox.append(el("p", {class: "error", role: "alert"}, failed.message));
      }
    }
  }

  // A saved page contains the sweeps: use them.
  async sweepOffline() {
    if (!isOffline) return;
    for (const side of ["clean", "corrupt"]) await this.runAll(side).catch(() => {});
  }

  // ---- paths between heads

  paths() {
    const {setup, context} = this;
    const heads = setup.rows.filter(each => each.kind === "head");
    const out = el("div"), circuit = el("div");
    const name = each => (each.layer === null ? t("patching.to_output") : t("patching.row_head", {layer: each.layer, head: each.head}));
    const trace = async () => {
      const sender = chosen.value;
      const progress = context.progress(t("patching.tracing"));
      const found = [];
      const show = () => out.replaceChildren(bars({items: found.map(path => ({label: `→ ${name(path)}`, value: path.effect, text: percent(path.effect, 2)})), signed: true,
        name: "paths", ariaLabel: t("patching.paths_title")}));
      try {
        const answer = await context.ask("patch_paths", {...this.fields(), sender}, {signal: progress.signal, report: (done, total, partial) => {
          progress.update(done, total);
          if (partial) found.push(...partial.paths);
          show();
        }});
        found.splice(0, found.length, ...answer.paths);
        show();
      } catch (error) {
        if (error.name !== "AbortError") out.replaceChildren(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
      } finally {
        progress.done();
      }
    };
    const list = heads.map(each => ({value: each.name, label: t("patching.row_head", {layer: each.layer, head: each.head})}));
    const control = select(t("patching.sender"), list, this.loudestHead(), () => {});
    const chosen = control.querySelector("select");
    return panel(t("patching.paths_title"), note(t("patching.paths_help")), row(control, button(t("patching.trace_paths"), trace, {dataset: {trace: "paths"}}),
      button(t("patching.all_paths"), () => this.circuit(heads, circuit, name => {
        chosen.value = name;
        trace();
      }), {dataset: {trace: "all"}})), el("div", {class: "grid"}, out, circuit));
  }

  // Every head to every later head and to the output, as a map that grows.
  async circuit(heads, box, choose) {
    const {context} = this, n = heads.length;
    const values = new Float64Array(n * (n + 1)).fill(NaN);
    const ids = heads.map(each => `${each.layer}.${each.head}`);
    const progress = context.progress(t("patching.tracing"));
    const limit = () => values.reduce((a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a), 1e-9);
    const map = heatMap({rows: n, columns: n + 1, value: (i, j) => values[i * (n + 1) + j], signed: true, limits: [-1, 1], rowLabels: ids, columnLabels: [...ids, t("patching.to_output")],
      label: t("patching.in_percent", {what: t("patching.direct_effect")}), name: "paths-all",
      cellText: (i, j) => (Math.abs(values[i * (n + 1) + j]) >= 0.005 ? (100 * values[i * (n + 1) + j]).toFixed(0).replace("-", "−") : ""), onclick: i => choose(heads[i].name), describe: (i, j) => [`${ids[i]} → ${j < n ? ids[j] : t("patching.to_output")}`,
        Number.isFinite(values[i * (n + 1) + j]) ? percent(values[i * (n + 1) + j], 2) : t("patching.not_above")], ariaLabel: t("patching.all_paths_label")});
    box.replaceChildren(map);
    try {
      const found = await context.ask("patch_circuit", this.fields(), {signal: progress.signal, report: (done, total, partial) => {
        progress.update(done, total);
        if (!partial) return;
        for (let i = 0; i < n; i++) values[i * (n + 1) + partial.receiver] = partial.effects.data[i];
        map.update({limits: [-limit(), limit()]});
      }});
      values.set(found.effects.data);
      map.update({limits: [-limit(), limit()]});
      map.dataset.done = "true";
    } catch (error) {
      if (error.name !== "AbortError") box.replaceChildren(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
    } finally {
      progress.done();
    }
  }

  // -> the name of the head that matters most, by the gradient
  loudestHead() {
    const {rows, estimate, clean} = this.setup;
    const T = clean.tokens.length;
    const sizes = rows.map((each, i) => (each.kind === "head" ? Math.abs(estimate.corrupt.data.subarray(i * T, (i + 1) * T).reduce((a, b) => a + b, 0)) : -1));
    return rows[sizes.indexOf(Math.max(...sizes))].name;
  }

  // ---- heads switched off

  board() {
    const {context, setup} = this;
    const heads = setup.rows.filter(each => each.kind === "head");
    const layers = [...new Set(heads.map(each => each.layer))].reverse();
    const most = Math.max(...layers.map(layer => heads.filter(each => each.layer === layer).length));
    const off = new Set(this.state.get("off", "").split(",").filter(id => heads.some(each => `${each.layer}.${each.head}` === id)));
    let how = ["mean", "resample"].includes(this.state.get("how", "zero")) ? this.state.get("how", "zero") : "zero";
    let alone = null, asked = 0, shownBy = "value";
    const buttons = new Map();
    const out = el("div", {class: "board-answer"});
    const fields = () => {
      const {token, against, position, stack} = this.fields();
      return {token, against, position, stack};
    };

    const paint = () => {
      const values = alone ? Array.from(alone[shownBy].data ?? alone[shownBy]) : [];
      const limit = Math.max(1e-9, ...values.filter(Number.isFinite).map(Math.abs));
      heads.forEach((each, n) => {
        const id = `${each.layer}.${each.head}`, element = buttons.get(id), isOff = off.has(id);
        setPressed(element, isOff);
        const value = values[n];
        const known = Number.isFinite(value);
        element.style.background = known && !isOff ? color(value, -limit, limit, true) : "";
        element.style.color = known && !isOff ? inkOn(rgb(value, -limit, limit, true)) : "";
        element.querySelector(".rise").textContent = known ? number(value, 3) : "";
        const said = t(isOff ? "patching.head_off" : "patching.head_on", {layer: each.layer, head: each.head});
        element.setAttribute("aria-label", known ? `${said}. ${t("patching.rise_alone", {value: number(value)})}` : said);
        element.title = element.getAttribute("aria-label");
      });
    };
    const measure = async () => {
      const mine = ++asked;
      context.state.set({off: [...off].join(",") || null, how: how === "zero" ? null : how});
      if (!off.size) {
        out.replaceChildren(note(t("patching.all_on")));
        return;
      }
      try {
        const found = await context.ask("switch_heads", {...fields(), heads: [...off], how});
        if (mine !== asked || context.signal.aborted) return;
        const rows = [];
        if (found.before.loss !== null) rows.push([t("patching.loss"), found.before.loss, found.after.loss, found.after.loss - found.before.loss]);
        rows.push([t("patching.logit", {token: tokenText(found.token.name), other: found.other ? tokenText(found.other.name) : ""}).replace(/ − $/, ""), found.before.value, found.after.value, found.after.value - found.before.value]);
        rows.push([`p(${tokenText(found.token.name)})`, found.before.p, found.after.p, found.after.p - found.before.p]);
        const top = answer => bars({items: answer.top.map(each => ({label: tokenText(each.name), value: each.p, text: percent(each.p)})), limits: [0, 1], name: "answers", ariaLabel: t("patching.top")});
        out.replaceChildren(el("div", {class: "grid answers"}, table([t("patching.quantity"), t("patching.all_heads"), t("patching.without", {n: off.size}), t("patching.rise")], rows, {name: "heads-off", caption: t("patching.off_caption")}),
          el("div", {}, el("h4", {}, t("patching.before_title")), top(found.before)), el("div", {}, el("h4", {}, t("patching.after_title")), top(found.after))));
        context.announce(rows.map(each => `${each[0]}: ${number(each[1])} → ${number(each[2])}`).join("; "));
      } catch (error) {
        if (error.name !== "AbortError" && mine === asked) out.replaceChildren(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
      }
    };
    const each = async () => {
      const progress = context.progress(t("patching.each_running"));
      const values = {loss: heads.map(() => NaN), value: heads.map(() => NaN)};
      try {
        const found = await context.ask("heads_off", {...fields(), how}, {signal: progress.signal, report: (done, total, partial) => {
          progress.update(done, total);
          if (!partial) return;
          for (let k = 0; k < partial.rise.shape[0]; k++) {
            values.loss[partial.start + k] = partial.rise.data[2 * k];
            values.value[partial.start + k] = partial.rise.data[2 * k + 1];
          }
          alone = values;
          paint();
        }});
        alone = {loss: Array.from(found.loss.data), value: Array.from(found.value.data), estimate: found.estimate && Array.from(found.estimate.data)};
        paint();
        const hasLoss = alone.loss.some(Number.isFinite);
        const rows = heads.map((head, n) => [`${head.layer}.${head.head}`, ...(hasLoss ? [alone.loss[n]] : []), alone.value[n], ...(alone.estimate ? [alone.estimate[n]] : [])]);
        const rho = alone.estimate ? correlation(alone.value, alone.estimate) : null;
        list.replaceChildren(el("details", {}, el("summary", {}, t("patching.each_table")), table([t("patching.head"), ...(hasLoss ? [t("patching.loss_rise")] : []), t("patching.value_rise"), ...(alone.estimate ? [t("patching.by_gradient")] : [])], rows, {name: "each-head", sortable: true, caption: t("patching.each_caption"), onrow: n => context.goTo("attention", {layer: heads[n].layer, head: heads[n].head})})),
          rho === null ? "" : note(t("patching.each_correlation", {rho: number(rho, 3)})));
        const modes = [...(hasLoss ? ["loss"] : []), "value", ...(alone.estimate ? ["estimate"] : [])];
        if (!modes.includes(shownBy)) shownBy = "value";
        colored.replaceChildren(select(t("patching.colored_by"), modes.map(name => ({value: name, label: t(`patching.by_${name}`)})), shownBy, name => {
          shownBy = name;
          paint();
        }));
      } catch (error) {
        if (error.name !== "AbortError") list.replaceChildren(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
      } finally {
        progress.done();
      }
    };
    const toggle = id => {
      if (!off.delete(id)) off.add(id);
      paint();
      measure();
    };
    const headButton = (layer, h) => {
      const id = `${layer}.${h}`;
      const element = el("button", {type: "button", class: "head-switch", "aria-pressed": "false", dataset: {head: id}, onclick: () => toggle(id)},
        el("span", {class: "head-name"}, id), el("span", {class: "rise"}));
      buttons.set(id, element);
      return element;
    };
    const toggleLayer = layer => {
      const ids = heads.filter(head => head.layer === layer).map(head => `${head.layer}.${head.head}`);
      const isOff = ids.every(id => off.has(id));
      ids.forEach(id => (isOff ? off.delete(id) : off.add(id)));
      paint();
      measure();
    };
    const grid = el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": t("patching.switches")}, el("table", {class: "board"},
      el("tbody", {}, layers.map(layer => el("tr", {}, el("th", {scope: "row"}, el("button", {type: "button", class: "small", title: t("patching.toggle_layer", {layer}), "aria-label": t("patching.toggle_layer", {layer}), onclick: () => toggleLayer(layer)}, t("patching.layer", {layer}))),
        Array.from({length: most}, (_, h) => el("td", {}, heads.some(head => head.layer === layer && head.head === h) ? headButton(layer, h) : "")))))));
    const list = el("div"), colored = el("span");
    const controls = row(select(t("patching.replaced_by"), ["zero", "mean", "resample"].map(name => ({value: name, label: t(`patching.how_${name}`)})), how, value => {
      how = value;
      alone = null;
      list.replaceChildren();
      colored.replaceChildren();
      paint();
      measure();
    }), button(t("patching.each_alone"), each, {dataset: {each: "alone"}}), button(t("patching.all_back"), () => {
      off.clear();
      paint();
      measure();
    }), colored);
    this.root.append(panel(t("patching.board_title"), note(t("patching.board_help")), controls, grid, out, list));
    paint();
    measure();
    if (isOffline) each();
  }
}

// "site@1,3-4>site@1,3-4": which value goes where
class Move {
  constructor(source, sources, name, places) {
    Object.assign(this, {source, sources, name, places});
  }

  static read(text) {
    const found = /^([\w.]+)@([\d,-]+)(?:>([\w.]+)@([\d,-]+))?$/.exec(text);
    if (!found) return null;
    const [, source, from, name, to] = found;
    return new Move(source, positions(from), name || source, positions(to || from));
  }

  fits(setup) {
    const T = setup.clean.tokens.length, known = name => setup.rows.some(each => each.name === name);
    const inside = list => list.length > 0 && list.every(c => Number.isInteger(c) && c >= 0 && c < T) && new Set(list).size === list.length;
    return known(this.source) && known(this.name) && inside(this.sources) && inside(this.places) && this.sources.length === this.places.length;
  }

  equals(other) {
    return String(this) === String(other);
  }

  // The server wants rising ranges of each list, pair by pair: write a straight move in short.
  toString() {
    const from = `${this.source}@${ranges(this.sources)}`, to = `${this.name}@${ranges(this.places)}`;
    return from === to ? from : `${from}>${to}`;
  }
}

function positions(text) {
  const found = [];
  for (const part of text.split(",")) {
    const [low, high = low] = part.split("-").map(Number);
    for (let c = low; c <= Math.min(high, low + 100000); c++) found.push(c);
  }
  return found;
}

function ranges(list) {
  const parts = [];
  for (let i = 0; i < list.length; ) {
    let end = i;
    while (end + 1 < list.length && list[end + 1] === list[end] + 1) end++;
    parts.push(end > i ? `${list[i]}-${list[end]}` : String(list[i]));
    i = end + 1;
  }
  return parts.join(",");
}

// -> Pearson's correlation; null if one of them doesn't vary
export function correlation(x, y) {
  const n = x.length, mean = a => a.reduce((s, v) => s + v, 0) / n;
  if (n < 2) return null;
  const [mx, my] = [mean(x), mean(y)];
  let xy = 0, xx = 0, yy = 0;
  for (let i = 0; i < n; i++) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) ** 2;
    yy += (y[i] - my) ** 2;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : null;
}
