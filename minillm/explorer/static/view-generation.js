// How the next token is chosen, and what the cache holds.

import {el, tokenText, number, percent} from "./dom.js";
import {rgb, inkOn} from "./color.js";
import {button, slider, field, panel, row, note} from "./controls.js";
import {FILTERS, asOptions} from "./filters.js";
import {Tree, fingerprint} from "./generation-path.js";
import {distribution, filterControls, nameOf} from "./generation-next.js";
import {beams} from "./generation-beams.js";
import {cachePanel} from "./generation-cache.js";
import {saveable} from "./save.js";
import {roving} from "./roving.js";
import {t} from "./messages.js";

const MOST_SURPRISED = 10; // nats: the deepest color
const MANY = 16384; // tokens of a vocabulary: with more, the bars move once a frame at most
const SMALL = 3e7; // parameters: models whose searches are fast enough to run unasked

export default {
  id: "generation",
  async render(root, context) {
    const kept = context.state.get("of", "") === fingerprint(`${context.model} ${context.text}`);
    const first = await context.ask("generation_next");
    if (context.signal.aborted) return;
    if (first.kind === "none") root.append(note(t("generation.no_tokens", {architecture: first.architecture})));
    else if (first.kind === "masked") await new Masked(root, context, first).start(kept);
    else await new Generation(root, context, first).start(kept);
  },
};

// What both kinds of models have: filters, seeds, the names of tokens
class View {
  constructor(root, context, first) {
    Object.assign(this, {root, context, first, names: {...first.names}, answers: new Map(), showing: null, writing: 0});
    this.values = Object.fromEntries(FILTERS.map(({name, off}) => [name, context.state.get(name, off)]));
    this.status = el("div", {class: "gen-status", role: "status"});
  }

  // Writing the address at each move of a slider would be too often.
  remember(changes = {}) {
    this.changes = {...this.changes, ...changes, of: fingerprint(`${this.context.model} ${this.context.text}`)};
    FILTERS.forEach(({name, off}) => { this.changes[name] = this.values[name] === off ? null : this.values[name]; });
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.context.signal.aborted || this.context.state.set(this.changes), 250);
  }

  async answer(key, fields) {
    if (!this.answers.has(key)) {
      const found = await this.context.ask("generation_next", fields);
      Object.assign(this.names, found.names);
      if (this.answers.size > 60) this.answers.clear();
      this.answers.set(key, found);
    }
    return this.answers.get(key);
  }

  async wantNames(ids) {
    const wanted = ids.filter(id => !(id in this.names));
    if (!wanted.length || this.asking) return;
    this.asking = true;
    try {
      Object.assign(this.names, (await this.context.ask("generation_names", {ids: wanted})).names);
      this.next.named(this.names);
    } catch (error) {
      wanted.forEach(id => { this.names[id] = `#${id}`; }); // a page without a server
    }
    this.asking = false;
  }

  // Called at each move of a slider
  moved() {
    if (!this.current || !this.current.logits) return;
    if (this.current.logits.data.length <= MANY) this.filtered();
    else if (!this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        if (!this.context.signal.aborted) this.filtered();
      });
    }
  }

  failed(error) {
    if (this.context.signal.aborted || error.name === "AbortError") return;
    this.status.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
  }

  // A token in the color of its surprise. scored: {log_p, rank} or null
  chip(id, scored, {chosen, onclick, isNew, label, vocabulary}) {
    const text = nameOf(this.names, id);
    const said = scored ? t("generation.surprise", {token: text, nats: number(-scored.log_p, 3), p: percent(Math.exp(scored.log_p), 2), rank: scored.rank + 1, all: vocabulary})
      : `${text}. ${t("generation.not_predicted")}`;
    const expected = scored ? scored.alternatives.slice(0, 3).map(each => `${nameOf(this.names, each.id)} ${percent(Math.exp(each.log_p))}`).join(", ") : "";
    const chip = el("button", {type: "button", class: `gen-token${isNew ? " new" : ""}${label ? ` ${label}` : ""}`, title: expected ? `${said}. ${t("generation.expected", {tokens: expected})}` : said, "aria-label": said,
      "aria-pressed": String(chosen), onclick, dataset: {id, ...(scored ? {nats: -scored.log_p} : {})}}, text);
    if (scored) {
      const color = rgb(Math.min(-scored.log_p, MOST_SURPRISED), 0, MOST_SURPRISED * 1.5);
      chip.style.background = `rgb(${color.join(" ")})`;
      chip.style.color = inkOn(color);
    }
    return chip;
  }

  scores(answer) {
    const found = new Map();
    const k = answer.alternatives.shape[1] || 0;
    Array.from(answer.shown.data).forEach((place, i) => found.set(place, {
      log_p: answer.log_p.data[i], rank: answer.rank.data[i],
      alternatives: Array.from({length: k}, (_, j) => ({id: answer.alternatives.data[i * k + j], log_p: answer.alternatives_log_p.data[i * k + j]})),
    }));
    return found;
  }

  legend(scores) {
    const nats = [...scores.values()].map(each => -each.log_p);
    const mean = nats.reduce((a, b) => a + b, 0) / nats.length;
    const bar = el("span", {class: "legend-bar"});
    const stops = [0, MOST_SURPRISED].map(each => `rgb(${rgb(each, 0, MOST_SURPRISED * 1.5).join(" ")})`);
    bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    return el("div", {class: "legend"}, "−log p: 0", bar, `${MOST_SURPRISED}+`,
      nats.length > 0 && el("span", {class: "gen-mean", dataset: {mean}}, t("generation.mean", {mean: number(mean, 4), perplexity: number(Math.exp(mean), 4)})));
  }

  // The likeliest tokens in a place, to exchange its token
  alternatives(scored, id, choose) {
    return el("div", {class: "gen-alternatives", role: "group", "aria-label": t("generation.alternatives")},
      scored.alternatives.map(each => button([el("span", {class: "gen-alternative"}, nameOf(this.names, each.id)), " ", percent(Math.exp(each.log_p))],
        () => choose(each.id), {pressed: each.id === id, title: t("generation.exchange", {token: nameOf(this.names, each.id)})})));
  }

  // Words that somebody writes, as tokens: take(ids)
  ownWords(title, take) {
    return field(title, "", async words => {
      if (!words) return;
      try {
        const found = await this.context.ask("generation_words", {words});
        Object.assign(this.names, found.names);
        await take(found.ids);
      } catch (error) {
        this.failed(error);
      }
    }, {placeholder: t("generation.words_hint"), class: "gen-words"});
  }

  // The text with −log p as a file
  savedPath(answer, scores) {
    return Array.from(answer.ids.data, (id, i) => ({place: i, id, token: this.names[id] ?? null, log_p: scores.has(i) ? scores.get(i).log_p : null, rank: scores.has(i) ? scores.get(i).rank + 1 : null}));
  }

  saveablePath(element) {
    return saveable(element, {name: "tokens", json: () => this.saved, rows: () => [["place", "id", "token", "log p", "rank"],
      ...this.saved.map(each => [each.place, each.id, each.token ?? "", each.log_p ?? "", each.rank ?? ""])]});
  }
}

class Generation extends View {
  async start(kept) {
    const {context, first} = this;
    this.tree = new Tree(Array.from(first.ids.data));
    if (kept) this.tree.read(context.state.get("tree", ""));
    this.at = kept ? Math.max(0, Math.min(Math.trunc(context.state.get("at", this.tree.nText - 1)), this.tree.nodes.length - 1)) : this.tree.nText - 1;
    this.seed = context.state.within("seed", 0, 0, 2 ** 32 - 1);
    this.chosen = null;
    this.answers.set(this.tree.ids(this.tree.nText - 1).join(), first);

    this.tokens = el("div", {class: "gen-path", role: "group", "aria-label": t("generation.so_far")});
    this.settle = roving(this.tokens, ".gen-token");
    this.place = el("div", {class: "gen-place"});
    this.legendPlace = el("div", {});
    this.branches = el("div", {class: "gen-branches"});
    this.written = el("p", {class: "gen-written"});
    this.next = distribution(t("generation.next"));
    this.cache = cachePanel(context);
    this.beams = beams(context, {adopt: ids => this.extend(ids), isSmall: context.info.n_parameters < SMALL});
    this.root.append(
      panel(t("generation.so_far"), this.source(), this.saveablePath(this.tokens), this.legendPlace, this.place, this.written, this.controls(), this.status, this.branches),
      el("div", {class: "gen-two"},
        panel(t("generation.filters"), note(t("generation.filters_help")), filterControls(this.values, () => this.moved()), this.next.steps),
        panel(t("generation.next"), this.next.facts, this.next.element)),
      this.cache.element, this.beams.element);
    await this.draws();
    try {
      await this.show();
    } catch (error) { // an address may hold anything
      this.at = this.tree.nText - 1;
      await this.show();
      this.failed(error);
    }
  }

  source() {
    if (!this.first.source) return null;
    return el("p", {class: "note"}, t("generation.translates"), " ", el("code", {}, this.first.source.map(tokenText).join(" ")));
  }

  controls() {
    this.drawn = el("span", {class: "facts gen-drawn"});
    this.n = this.context.state.within("n", 30, 1, 1024);
    return el("div", {},
      row(button(t("generation.best"), () => this.take(this.greedy()), {title: t("generation.best_help")}),
        button(t("generation.sample"), () => this.take(this.next.result.next), {title: t("generation.sample_help")}),
        field(t("generation.seed"), String(this.seed), value => this.reseed(value), {type: "number", min: 0, max: 4294967295, class: "gen-seed"}), this.drawn),
      row(this.ownWords(t("generation.append"), ids => this.extend(ids)), button(t("generation.undo"), () => this.undo(), {title: t("generation.undo_help")}),
        button(t("generation.to_text"), () => this.goTo(this.tree.nText - 1)),
        slider(t("generation.n_tokens"), {min: 1, max: 200, value: this.n}, value => {
          this.n = value;
          this.remember({n: value});
        }),
        button(t("generation.generate"), () => this.stream(true)), button(t("generation.generate_greedy"), () => this.stream(false))));
  }

  async draws() {
    try {
      const seed = this.seed;
      const found = await this.context.ask("generation_draws", {seed});
      if (seed === this.seed) this.uniform = found.draws.data;
    } catch (error) {
      this.uniform = null;
      if (!error.offline) this.failed(error);
    }
  }

  async reseed(value) {
    const seed = Number(value);
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) return;
    this.seed = seed;
    this.remember({seed: seed || null});
    await this.draws();
    if (this.current) this.filtered();
  }

  // The number of tokens after the text says which number of the seed is next.
  get depth() {
    return Math.max(0, this.tree.path(this.at).length - this.tree.nText);
  }

  get u() {
    return this.uniform && this.depth < this.uniform.length ? this.uniform[this.depth] : null;
  }

  greedy() {
    const scores = this.next.result.scores;
    let best = 0;
    scores.forEach((s, i) => { if (s > scores[best]) best = i; });
    return scores[best] > -Infinity ? best : -1;
  }

  take(id) {
    if (id < 0) return;
    this.context.announce(nameOf(this.names, id));
    this.extend([id]);
  }

  extend(ids) {
    return this.goTo(this.tree.extend(this.at, ids));
  }

  undo() {
    const parent = this.tree.nodes[this.at].parent;
    if (parent >= 0) this.goTo(parent);
  }

  goTo(node) {
    const before = this.at;
    this.at = node;
    this.chosen = null;
    this.remember({tree: this.tree.write(), at: this.at});
    return this.show().catch(error => {
      this.at = before;
      this.failed(error);
    });
  }

  async show() {
    const mine = (this.showing = {}), ids = this.tree.ids(this.at), key = ids.join();
    const own = key !== Array.from(this.first.ids.data).join();
    const found = await this.answer(key, own ? {ids} : {});
    if (mine !== this.showing || this.context.signal.aborted) return;
    this.status.replaceChildren();
    this.current = found;
    this.scored = this.scores(found);
    this.saved = this.savedPath(found, this.scored);
    this.drawPath(ids);
    this.filtered();
    this.cache.update(found, this.names, own);
    this.beams.update({all: ids, own});
    this.drawBranches();
  }

  filtered() {
    this.remember();
    this.next.update({logits: this.current.logits.data, ids: Array.from(this.current.ids.data), names: this.names, values: this.values, u: this.u,
      onchoose: id => this.take(id), wantNames: ids => this.wantNames(ids)});
    const next = this.next.result.next;
    this.drawn.textContent = this.u === null || next < 0 ? "" : t("generation.drawn", {k: this.depth + 1, u: number(this.u, 4), token: nameOf(this.names, next)});
  }

  drawPath(ids) {
    const path = this.tree.path(this.at), ends = new Set(this.current.ends), vocabulary = number(this.current.logits.data.length);
    const chips = ids.map((id, i) => this.chip(id, this.scored.get(i) || null, {
      chosen: this.chosen === i, isNew: path[i] >= this.tree.nText, vocabulary, label: ends.has(id) && i ? "end" : "", onclick: () => {
        this.chosen = this.chosen === i ? null : i;
        this.drawPath(ids);
        this.tokens.children[i].focus();
      }}));
    this.tokens.replaceChildren(...chips, el("span", {class: "gen-caret", "aria-hidden": "true"}));
    this.settle(chips[this.chosen ?? chips.length - 1]);
    this.legendPlace.replaceChildren(this.legend(this.scored), ...(ends.has(ids[ids.length - 1]) && ids.length > 1 ? [note(t("generation.ended"))] : []),
      ...(this.current.own_rules.length ? [note(t("generation.own_rules", {names: this.current.own_rules.join(", ")}))] : []));
    const scored = this.scored.get(this.chosen);
    this.place.replaceChildren(...(this.chosen === null ? [] : scored ? [
      note(t("generation.instead", {token: nameOf(this.names, ids[this.chosen]), rank: scored.rank + 1, p: percent(Math.exp(scored.log_p), 2)})),
      this.alternatives(scored, ids[this.chosen], id => this.exchange(this.chosen, id)),
      row(this.ownWords(t("generation.other_words"), ids => this.exchange(this.chosen, ...ids)), button(t("generation.go_here"), () => this.goTo(path[this.chosen])))] : [note(t("generation.not_predicted"))]));
  }

  // Another token in an earlier place begins a branch there; the old one stays in the tree.
  exchange(place, ...ids) {
    const node = this.tree.nodes[this.tree.path(this.at)[place]];
    if (node.id !== ids[0] || ids.length > 1) return this.goTo(this.tree.extend(node.parent, ids));
    return null;
  }

  drawBranches() {
    if (!this.tree.branches) {
      this.branches.replaceChildren();
      return;
    }
    const here = new Set(this.tree.path(this.at));
    const segment = start => {
      const run = [start];
      let children = this.tree.children(start);
      while (children.length === 1) {
        run.push(children[0]);
        children = this.tree.children(children[0]);
      }
      const words = run.map(node => nameOf(this.names, this.tree.nodes[node].id)), last = run[run.length - 1];
      const isHere = run.some(node => here.has(node)) && (run.includes(this.at) || !children.some(child => here.has(child)));
      const label = words.length > 14 ? [...words.slice(0, 6), "…", ...words.slice(-6)] : words;
      return el("li", {}, button(label.join(" "), () => this.goTo(last), {pressed: isHere, class: `button gen-branch${here.has(start) ? " on" : ""}`}),
        children.length > 0 && el("ul", {}, children.map(segment)));
    };
    this.branches.replaceChildren(el("h4", {}, t("generation.branches")), el("ul", {class: "gen-branch-tree"}, this.tree.children(-1).map(segment)));
  }

  async stream(sampling) {
    const ids = this.tree.ids(this.at), started = performance.now(), found = [];
    const progress = this.context.progress(t("generation.generating"));
    const text = el("span", {}), speed = el("span", {class: "facts"});
    this.written.replaceChildren(text, " ", speed);
    const tell = () => {
      text.textContent = found.map(each => each.text).join("");
      speed.textContent = t("generation.speed", {n: number(found.length), speed: number(found.length / Math.max(1e-3, (found.length ? found[found.length - 1].seconds : 1)), 3)});
    };
    let failed = null;
    try {
      await this.context.ask("generation_stream", {ids, n: this.n, do_sample: sampling, seed: this.seed, options: asOptions(this.values)}, {
        signal: progress.signal, report: (done, total, partial) => {
          progress.update(done, total);
          found.push(partial);
          this.names[partial.id] = partial.name;
          tell();
        }});
    } catch (error) {
      if (!progress.signal.aborted) failed = error; // cancelled: what has come stays
    }
    progress.done();
    if (this.context.signal.aborted) return;
    tell();
    if (found.length) await this.goTo(this.tree.extend(this.at, found.map(each => each.id)));
    if (failed) this.failed(failed);
    else this.context.announce(t("generation.speed", {n: found.length, speed: number(found.length / ((performance.now() - started) / 1000), 3)}));
  }
}

// A masked language model fills in one place; there is no order in which it writes.
class Masked extends View {
  async start(kept) {
    const {context, first} = this;
    this.ids = kept && context.state.get("ids", "") ? context.state.get("ids", "").split(".").map(Number) : Array.from(first.ids.data);
    const position = kept ? context.state.within("position", -1, -1, this.ids.length) : -1;
    this.position = position >= 0 && position < this.ids.length ? position : first.position;
    this.tokens = el("div", {class: "gen-path", role: "group", "aria-label": t("generation.hide_one")});
    this.settle = roving(this.tokens, ".gen-token");
    this.legendPlace = el("div", {});
    this.next = distribution(t("generation.fill"));
    this.filling = el("div", {class: "gen-two"},
      panel(t("generation.filters"), filterControls(this.values, () => this.moved()), this.next.steps),
      panel(t("generation.fill"), this.next.facts, this.next.element));
    this.root.append(
      panel(t("generation.hide_one"), note(t("generation.masked")), this.saveablePath(this.tokens), this.legendPlace,
        row(button(t("generation.hide_all"), () => this.hideAll()), button(t("generation.to_text"), () => this.change(Array.from(first.ids.data), first.position))), this.status),
      this.filling);
    this.scored = new Map();
    await this.show();
    if (context.info.n_parameters < SMALL && this.ids.length <= 64) await this.hideAll();
  }

  change(ids, position) {
    this.scored = new Map(ids.join() === this.ids.join() ? this.scored : []);
    this.ids = ids;
    this.position = position;
    const own = ids.join() !== Array.from(this.first.ids.data).join();
    this.remember({ids: own ? ids.join(".") : null, position});
    return this.show().catch(error => this.failed(error));
  }

  get fields() {
    const own = this.ids.join() !== Array.from(this.first.ids.data).join();
    return {...(own ? {ids: this.ids} : {}), ...(this.position !== null && (own || this.position !== this.first.position) ? {position: this.position} : {})};
  }

  async show() {
    const mine = (this.showing = {});
    const found = await this.answer(`${this.ids.join()} ${this.position}`, this.fields);
    if (mine !== this.showing || this.context.signal.aborted) return;
    this.current = found;
    this.drawPath();
    this.filling.hidden = found.logits === null;
    if (found.logits) this.filtered();
  }

  filtered() {
    if (!this.current.logits) return;
    this.remember();
    const truth = this.ids[this.position];
    this.next.update({logits: this.current.logits.data, ids: this.ids, names: this.names, values: this.values, u: null, truth: truth === this.current.mask ? null : truth,
      onchoose: id => this.change(this.ids.map((each, i) => (i === this.position ? id : each)), this.position), wantNames: ids => this.wantNames(ids)});
  }

  drawPath() {
    const vocabulary = number(this.context.info.vocab_size);
    this.saved = this.savedPath({ids: {data: this.ids}}, this.scored);
    this.tokens.replaceChildren(...this.ids.map((id, i) => this.chip(id, this.scored.get(i) || null, {
      chosen: i === this.position, isNew: false, vocabulary, label: id === this.current.mask || i === this.position ? "masked" : "",
      onclick: () => this.change(this.ids, i).then(() => this.tokens.children[i].focus())})));
    this.settle(this.tokens.children[this.position ?? 0]);
    this.legendPlace.replaceChildren(this.scored.size ? this.legend(this.scored) : "");
  }

  async hideAll() {
    const small = this.context.info.n_parameters < SMALL && this.ids.length <= 64;
    const progress = small ? null : this.context.progress(t("generation.hide_all"));
    const ids = this.ids, own = ids.join() !== Array.from(this.first.ids.data).join();
    try {
      const found = await this.context.ask("generation_hidden", own ? {ids} : {}, {...(progress ? {signal: progress.signal} : {}),
        report: (done, total) => progress && progress.update(done, total)});
      if (ids !== this.ids) return;
      Object.assign(this.names, found.names);
      this.scored = this.scores(found);
      this.drawPath();
    } catch (error) {
      if (!progress || !progress.signal.aborted) this.failed(error);
    } finally {
      if (progress) progress.done();
    }
  }
}
