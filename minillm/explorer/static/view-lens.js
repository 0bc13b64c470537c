// What the model would say after each block, at every position; and which parts put it there.

import {el, table, number, tokenText} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {bars, lines, SERIES} from "./chart.js";
import {button, select, field, panel, row, note} from "./controls.js";
import {t} from "./messages.js";

const MOST_SHARES = 16;
const CHOICES = ["probability", "final", "final_rank", "actual", "actual_rank", "entropy", "divergence", "own", "own_rank"];

export default {
  id: "lens",
  async render(root, context) {
    const found = await answer(context, context.state.get("tuned", 0) === 1);
    if (!context.signal.aborted) root.append(new View(found, context).element);
  },
};

async function answer(context, tuned) {
  const fields = tuned ? {tuned} : {};
  let found;
  try {
    found = await context.ask("lens", fields);
  } catch (error) {
    if (!tuned || error.name === "AbortError") throw error;
    context.state.set({tuned: null});  // the translators are gone: an address from yesterday
    return answer(context, false);
  }
  if (!found.long) return found;
  return withProgress(context, t("lens.reading"), options => context.ask("lens_long", fields, options));
}

async function withProgress(context, label, ask) {
  const progress = context.progress(label);
  try {
    return await ask({report: progress.update, signal: progress.signal});
  } finally {
    progress.done();
  }
}

class View {
  constructor(found, context) {
    this.context = context;
    this.take(found);
    const {state} = context, last = this.R - 1;
    this.position = clamp(state.get("position", found.position), this.T);
    this.layer = clamp(state.get("row", last), this.R);
    this.by = CHOICES.includes(state.get("by")) ? state.get("by") : "probability";
    this.own = null;
    this.ownField = field(t("lens.own"), state.get("token", ""), text => this.ask(text), {placeholder: t("lens.own_hint")});
    this.message = el("p", {class: "note", role: "status"});
    this.tuning = el("span", {class: "row"});
    this.tuned = el("div");
    this.top = el("div");
    this.through = el("div");
    this.shares = el("div");
    this.map = this.draw();
    this.element = el("div", {},
      row(select(t("lens.color"), CHOICES.map(each => ({value: each, label: this.nameOf(each)})), this.by, by => this.color(by)), this.ownField, this.tuning),
      this.message, this.tuned, panel(t("lens.map"), note(t("lens.map_note")), this.map),
      el("div", {class: "lens-pair"}, this.top, this.through), this.shares);
    this.showTuning();
    this.pin(this.layer, this.position);
    requestAnimationFrame(() => {  // the cell that is kept comes into sight
      const scroller = this.map.querySelector(".heat-scroll");
      scroller.scrollLeft = (scroller.scrollWidth / this.T) * (this.position - 1);
    });
    if (state.get("token", "")) this.ask(state.get("token", ""));
  }

  take(found) {
    this.found = found;
    [this.R, this.T, this.k] = found.ids.shape;
    this.n = found.tracked.shape[1];
    this.tokens = found.tokens.map(tokenText);
    this.isMasked = found.actual.data.length > 0 && found.actual.data[this.T - 1] >= 0;
    // Rows go up, as the stream does: row 0 of the picture is the last block.
    this.rowNames = Array.from({length: this.R}, (_, l) => (found.embedding ? (l ? t("lens.block", {n: l - 1}) : t("lens.embedding")) : t("lens.block", {n: l})));
  }

  nameOf(by) {
    return t(`lens.by_${this.isMasked ? by.replace("actual", "actual_here") : by}`);
  }

  token(id) {
    return tokenText(this.found.names[id] ?? (this.own && this.own.id === id ? this.own.name : `#${id}`));
  }

  // ---- the numbers of a cell

  at(l, pos) {
    return l * this.T + pos;
  }

  best(l, pos) {
    return this.found.ids.data[this.at(l, pos) * this.k];
  }

  // -> {p, rank} of a token that is followed at a position, or null
  followed(l, pos, id) {
    if (this.own && this.own.id === id) return {p: this.own.probabilities.data[this.at(l, pos)], rank: this.own.ranks.data[this.at(l, pos)]};
    for (let i = 0; i < this.n; i++) {
      if (this.found.tracked.data[pos * this.n + i] !== id) continue;
      const at = this.at(l, pos) * this.n + i;
      return {p: this.found.tracked_probabilities.data[at], rank: this.found.tracked_ranks.data[at]};
    }
    return null;
  }

  subject(pos) {
    if (this.by.startsWith("own")) return this.own ? this.own.id : null;
    const id = this.by.startsWith("actual") ? this.found.actual.data[pos] : this.best(this.R - 1, pos);
    return id < 0 ? null : id;
  }

  value(l, pos) {
    const {found} = this;
    if (this.by === "probability") return found.probabilities.data[this.at(l, pos) * this.k];
    if (this.by === "entropy" || this.by === "divergence") return found[this.by].data[this.at(l, pos)];
    const id = this.subject(pos), seen = id === null ? null : this.followed(l, pos, id);
    if (!seen) return NaN;
    return this.by.endsWith("rank") ? Math.log10(seen.rank + 1) : seen.p;
  }

  // ---- the picture

  options() {
    const isRank = this.by.endsWith("rank"), isNats = this.by === "entropy" || this.by === "divergence";
    return {rows: this.R, columns: this.T, value: (i, j) => this.value(this.R - 1 - i, j), limits: isRank || isNats ? null : [0, 1],
      rowLabels: [...this.rowNames].reverse(), columnLabels: this.tokens.map((token, i) => `${i} ${token}`),
      label: isRank ? `${this.nameOf(this.by)}, ${t("lens.log_rank")}` : isNats ? `${this.nameOf(this.by)}, ${t("lens.nats")}` : this.nameOf(this.by),
      cellText: (i, j) => this.token(this.best(this.R - 1 - i, j)), describe: (i, j) => this.described(this.R - 1 - i, j),
      selected: [this.R - 1 - this.layer, this.position]};
  }

  draw() {
    const width = Math.max(58, Math.min(92, Math.floor(1050 / this.T)));
    return heatMap({...this.options(), cell: [width, 30], maxHeight: 620, name: "lens", onclick: (i, j) => this.pin(this.R - 1 - i, j, true)});
  }

  color(by) {
    this.by = by;
    this.context.state.set({by: by === "probability" ? null : by});
    this.message.textContent = by.startsWith("own") && !this.own ? t("lens.unseen") : "";
    this.map.update(this.options());
  }

  // The tooltip: the top tokens with their probabilities, and the entropy
  described(l, pos) {
    const {found} = this, at = this.at(l, pos) * this.k, lines = [`${this.rowNames[l]} · ${pos} ${this.tokens[pos]}`];
    for (let i = 0; i < Math.min(5, this.k); i++) lines.push(`${number(found.probabilities.data[at + i])}  ${this.token(found.ids.data[at + i])}`);
    lines.push(`H ${number(found.entropy.data[this.at(l, pos)])} · KL ${number(found.divergence.data[this.at(l, pos)])}`);
    if (!["probability", "entropy", "divergence"].includes(this.by)) {
      const id = this.subject(pos), seen = id === null ? null : this.followed(l, pos, id);
      if (seen) lines.push(`${this.token(id)}: ${number(seen.p)}, ${t("lens.rank")} ${number(seen.rank + 1)}`);
    }
    return lines;
  }

  async ask(text) {
    this.context.state.set({token: text});
    this.message.textContent = "";
    if (!text) {
      this.own = null;
      this.map.update(this.options());
      return this.showThrough();
    }
    try {
      this.own = await this.context.ask("lens_token", {token: text, ...(this.found.tuned ? {tuned: true} : {})});
    } catch (error) {
      if (error.name === "AbortError") return;
      this.own = null;
      this.message.textContent = error.offline ? t("shell.offline") : error.message;
    }
    this.map.update(this.options());
    this.showThrough();
    if (this.own) this.element.dataset.own = this.own.name;
  }

  // ---- a cell that is kept

  pin(l, pos, byUser = false) {
    Object.assign(this, {layer: l, position: pos});
    if (byUser) {
      this.context.state.set({row: l, position: pos});
      this.context.announce(this.described(l, pos).join(", "));
    }
    this.map.select(this.R - 1 - l, pos);
    this.showTop();
    this.showThrough();
    this.showShares(this.best(l, pos));
  }

  showTop() {
    const {found, layer: l, position: pos} = this, at = this.at(l, pos) * this.k;
    const ids = Array.from(found.ids.data.subarray(at, at + this.k));
    const items = ids.map((id, i) => ({label: this.token(id), value: found.probabilities.data[at + i]}));
    this.top.replaceChildren(panel(t(this.isMasked ? "lens.top_masked" : "lens.top", {row: this.rowNames[l], n: pos, token: this.tokens[pos]}),
      bars({items, limits: [0, Math.max(0.05, items[0].value)], name: "lens-top", onclick: i => this.showShares(ids[i])}),
      note(t("lens.entropy_is", {entropy: number(found.entropy.data[this.at(l, pos)]), divergence: number(found.divergence.data[this.at(l, pos)])}))));
  }

  // The tokens that count here: what is said at the end and in truth, this cell's favorites, one's own
  important() {
    const {found, layer: l, position: pos} = this, at = this.at(l, pos) * this.k;
    const wanted = [this.own && this.own.id, this.best(this.R - 1, pos), found.actual.data[pos], ...found.ids.data.subarray(at, at + 2),
      ...found.tracked.data.subarray(pos * this.n, (pos + 1) * this.n)];
    return [...new Set(wanted.filter(id => id !== null && id >= 0 && this.followed(0, pos, id)))].slice(0, SERIES.length);
  }

  showThrough() {
    const {position: pos} = this, byRank = this.context.state.get("through", "p") === "rank";
    const x = Array.from({length: this.R}, (_, l) => l - (this.found.embedding ? 1 : 0));
    const series = this.important().map(id => ({label: this.token(id), x, y: x.map((_, l) => {
      const seen = this.followed(l, pos, id);
      return byRank ? -Math.log10(seen.rank + 1) : seen.p;
    })}));
    const switched = button(t(byRank ? "lens.by_p" : "lens.by_rank"), () => {
      this.context.state.set({through: byRank ? null : "rank"});
      this.showThrough();
    });
    const rows = this.important().map(id => [this.token(id), ...x.map((_, l) => {
      const seen = this.followed(l, pos, id);
      return byRank ? seen.rank + 1 : seen.p;
    })]);
    this.through.replaceChildren(panel(t("lens.through", {n: pos, token: this.tokens[pos]}),
      lines({series, xLabel: t(this.found.embedding ? "lens.blocks_from" : "lens.blocks"), yLabel: byRank ? `−${t("lens.log_rank")}` : t("lens.probability"), yLimits: byRank ? null : [0, 1],
        marks: [{x: x[this.layer], label: ""}], points: true, height: 250, name: "lens-through", onclick: at => this.pin(clamp(Math.round(at) - x[0], this.R), pos, true)}),
      row(switched), el("details", {class: "lens-more"}, el("summary", {}, t("lens.numbers")),
        table(["", ...this.rowNames], rows, {name: "lens-followed"}))));
  }

  // ---- the tuned lens

  showTuning() {
    const {found} = this, isTuned = found.tuned;
    const children = [];
    if (found.has_tuned) {
      children.push(button(t("lens.plain"), () => this.switchTo(false), {pressed: !isTuned}), button(t("lens.tuned"), () => this.switchTo(true), {pressed: isTuned}));
    } else children.push(button(t("lens.train"), () => this.train(), {title: t("lens.tuned_note")}));
    this.tuning.replaceChildren(...children);
  }

  async switchTo(tuned) {
    const found = await answer(this.context, tuned);
    this.context.state.set({tuned: found.tuned ? 1 : null});
    this.take(found);
    if (this.own) await this.ask(this.context.state.get("token", ""));
    this.map.update(this.options());
    this.showTuning();
    this.pin(this.layer, this.position);
    this.context.announce(t(found.tuned ? "lens.tuned" : "lens.plain"));
  }

  async train() {
    this.message.textContent = "";
    try {
      const {losses} = await withProgress(this.context, t("lens.training"), options => this.context.ask("lens_tune", {}, options));
      const [L, steps] = losses.shape, few = Math.min(10, steps);
      const mean = (l, from) => losses.data.subarray(l * steps + from, l * steps + from + few).reduce((a, b) => a + b, 0) / few;
      const told = Array.from({length: L}, (_, l) => `${this.rowNames[l]} ${number(mean(l, 0), 2)} → ${number(mean(l, steps - few), 2)}`);
      this.tuned.replaceChildren(note(t("lens.trained", {source: t(this.context.info.run ? "lens.source_run" : "lens.source_corpus"), losses: told.join(", ")})), note(t("lens.tuned_note")));
      await this.switchTo(true);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.message.textContent = error.offline ? t("shell.offline") : error.message;
    }
  }

  // ---- who put it there: direct logit attribution

  async showShares(token, against = -1) {
    const {position} = this, mine = (this.asked = (this.asked || 0) + 1);
    if (!this.found.is_sum) {
      this.shares.replaceChildren(note(t("lens.no_sum")));
      return;
    }
    let found;
    try {
      found = await this.context.ask("lens_contributions", {position, token, ...(against < 0 ? {} : {against})});
    } catch (error) {
      if (error.name === "AbortError" || mine !== this.asked) return;
      this.shares.replaceChildren(note(t("lens.no_shares", {why: error.offline ? t("shell.offline") : error.message})));
      return;
    }
    if (mine !== this.asked || this.context.signal.aborted) return;
    const parts = [...found.parts].sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
    const shown = parts.slice(0, MOST_SHARES), rest = parts.slice(MOST_SHARES);
    const colored = share => (share < 0 ? "var(--negative)" : "var(--positive)");
    const items = shown.map(part => ({label: partName(part), value: part.share, color: colored(part.share)}));
    if (rest.length) {
      const value = rest.reduce((total, part) => total + part.share, 0);
      items.push({label: t("lens.others", {n: rest.length}), value, color: colored(value)});
    }
    const open = i => shown[i] && shown[i].head !== null && this.context.goTo("attention", {layer: shown[i].layer, head: shown[i].head, query: position, key: null,
      name: shown[i].kind === "cross head" ? found.cross : null});
    const what = against < 0 ? this.token(token) : `${this.token(token)} − ${this.token(against)}`;
    const others = this.important().filter(id => id !== token);
    if (against >= 0 && !others.includes(against)) others.push(against);
    this.shares.replaceChildren(panel(t("lens.shares", {token: what, n: position, place: this.tokens[position]}), note(t("lens.shares_note")),
      row(select(t("lens.versus"), [{value: -1, label: t("lens.nothing")}, ...others.map(id => ({value: id, label: this.token(id)}))], against,
        value => this.showShares(token, Number(value)))),
      el("div", {class: "lens-shares"}, bars({items, name: "lens-shares", onclick: open}),
        el("div", {}, table([t("lens.part"), t("lens.share")], [[t("lens.sum"), found.sum], [t("lens.logit"), found.logit]], {name: "lens-sum", digits: 5}),
          el("details", {class: "lens-more"}, el("summary", {}, t("lens.all_parts")),
            table([t("lens.part"), t("lens.share")], found.parts.map(part => [partName(part), part.share]), {name: "lens-parts", sortable: true}))))));
  }
}

function partName({kind, part, layer, head}) {
  const names = {embedding: "embedding", head: "head", "cross head": "cross", feed_forward: "feed_forward", "attention bias": "bias", "last norm's bias": "norm", "head's bias": "output"};
  return kind in names ? t(`lens.part_${names[kind]}`, {layer, head}) : part;
}

const clamp = (value, size) => Math.max(0, Math.min(size - 1, Math.trunc(value)));
