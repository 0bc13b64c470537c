// How the text becomes tokens, byte by byte and merge by merge.

import {el, tokenText, number, table} from "./dom.js";
import {button, panel, row, note, setPressed} from "./controls.js";
import {bars} from "./chart.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {Merges, drawMerges, drawAttempts, drawLattice, label, hexOf, NONE} from "./tokenizer-steps.js";
import {roving} from "./roving.js";
import {t} from "./messages.js";

const PLAY = 700; // milliseconds a step
const MOST = 1200; // tokens and pieces that are drawn; the table has all of them
const ALGORITHMS = {merges: "bpe", attempts: "wordpiece", lattice: "unigram", whole: "other"};

// The beginning of a long text
function short(text, most = 60) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most).join("")}…` : text;
}

export default {
  id: "tokenizer",
  async render(root, context) {
    const answer = await context.ask("tokenizer_replay");
    if (!context.signal.aborted) new Replay(root, context, answer).build();
  },
};

class Replay {
  constructor(root, context, answer) {
    Object.assign(this, {root, context, answer, tokens: answer.tokens, playing: 0});
    this.words = answer.parts.flatMap(part => part.words.map(word => ({...word, added: part.added})));
    const counts = this.words.slice(0, 40).map(word => this.countOf(word)); // the most interesting of the first pieces
    const kept = context.state.within("word", -1, -1, this.words.length);
    this.at = kept >= 0 && kept < this.words.length ? kept : Math.max(0, counts.indexOf(Math.max(...counts)));
    this.step = context.state.within("step", NONE, NONE, 2 ** 31);
    context.signal.addEventListener("abort", () => clearInterval(this.playing), {once: true});
  }

  get word() {
    return this.words[this.at];
  }

  countOf(word) {
    if (word.kind === "merges") return word.steps.shape[0];
    if (word.kind === "attempts") return word.attempts.shape[0];
    return word.kind === "lattice" ? [...word.normalized].length : 0;
  }

  build() {
    this.replayPlace = el("div", {});
    this.tokenPlace = el("div", {"aria-live": "polite"});
    this.root.append(this.result(), this.tokenPlace);
    const steps = this.normalization();
    if (steps) this.root.append(steps);
    this.root.append(this.pieces(), this.replayPlace);
    this.showWord();
    const id = this.context.state.within("token", NONE, NONE, this.answer.size - 1);
    if (id !== NONE) this.showToken(id);
  }

  // ---- the result

  result() {
    const {answer} = this, {counts} = answer;
    const inside = this.words.flatMap((word, w) => Array.from({length: word.pieces.shape[0]}, (_, i) => ({id: word.pieces.data[3 * i], w})));
    const list = answer.template.flatMap(around => (around === null ? inside : around.map(id => ({id, w: null}))));
    const chips = list.slice(0, MOST).map(({id, w}) => {
      const token = this.tokens[id];
      return el("button", {type: "button", class: `tok-chip${token.special || token.added ? " special" : ""}${w !== null && w % 2 ? " odd" : ""}`, dataset: {id},
        title: t("tokenizer.box", {text: label(token), id, bytes: hexOf(token.bytes)}), onclick: () => this.showToken(id)},
        el("span", {class: "tok-text"}, label(token)), el("span", {class: "tok-id"}, String(id)));
    });
    const chipBox = el("div", {class: "tok-chips", role: "group", "aria-label": t("tokenizer.result")}, chips);
    roving(chipBox, ".tok-chip")();
    const facts = [["characters", counts.characters], ["bytes", counts.bytes], ["words", counts.words], ["tokens", counts.tokens]];
    const ratio = counts.tokens ? t("tokenizer.ratio", {bytes: number(counts.bytes / counts.tokens, 3), words: counts.words ? number(counts.tokens / counts.words, 3) : "–"}) : "";
    const rows = () => list.map(({id}, i) => [i, id, this.tokens[id].token ?? "", hexOf(this.tokens[id].bytes), label(this.tokens[id]),
      this.tokens[id].special ? t("tokenizer.special") : this.tokens[id].added ? t("tokenizer.added") : ""]);
    const details = el("details", {class: "tok-list"}, el("summary", {}, t("tokenizer.as_table")));
    details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(
      table(["#", "id", t("tokenizer.spelling"), t("tokenizer.bytes"), t("tokenizer.text"), t("tokenizer.kind")], rows(), {name: "tokens", onrow: i => this.showToken(list[i].id)})));
    return panel(t("tokenizer.result"),
      el("p", {class: "note"}, t("tokenizer.about", {name: answer.class, algorithm: this.algorithm(), size: number(answer.size)}),
        answer.n_merges > 0 && ` ${t("tokenizer.about_merges", {n: number(answer.n_merges)})}`),
      el("div", {class: "tok-counts"}, facts.map(([name, n]) => el("div", {class: "tok-count", dataset: {count: name, n}}, el("strong", {}, number(n)), " ", t(`tokenizer.${name}`, {n}))), el("span", {class: "facts"}, ratio)),
      chipBox,
      list.length > MOST && note(t("tokenizer.more", {n: number(list.length - MOST)})), details);
  }

  algorithm() {
    const kinds = new Set(this.words.map(word => word.kind).filter(kind => kind !== "whole"));
    const kind = ALGORITHMS[[...kinds][0] || "whole"];
    return t(`tokenizer.${kind === "bpe" && !this.answer.byte_level ? "bpe_characters" : kind}`);
  }

  // ---- before the model

  normalization() {
    const {parts, normalizer} = this.answer;
    const normalized = parts.map(part => [part.text, part.normalized]);
    this.words.forEach(word => word.kind === "lattice" && normalized.push([word.text, word.normalized]));
    const changed = normalized.filter(([before, after]) => before !== after);
    if (!changed.length) return null;
    return panel(t("tokenizer.normalization"), note(normalizer.length ? t("tokenizer.normalizer", {names: normalizer.join(", ")}) : t("tokenizer.normalizer_inside")),
      changed.map(([before, after]) => el("p", {class: "tok-change"}, el("code", {}, tokenText(before)), el("span", {"aria-hidden": "true"}, " → "), el("code", {}, tokenText(after)))));
  }

  pieces() {
    const names = this.answer.pre_tokenizer;
    this.pieceButtons = this.words.slice(0, MOST).map((word, i) => button(short(this.wordText(word), 300), () => this.choose(i),
      {pressed: i === this.at, class: `button tok-piece${word.added ? " special" : ""}`, dataset: {word: i}, title: t("tokenizer.n_pieces", {n: word.pieces.shape[0]})}));
    const box = el("div", {class: "tok-pieces", role: "group", "aria-label": t("tokenizer.pieces")}, this.pieceButtons);
    roving(box, ".tok-piece")(this.pieceButtons[this.at]);
    return panel(t("tokenizer.pieces"), note(names.length ? t("tokenizer.pieces_help", {names: names.join(", "), n: number(this.words.length)}) : t("tokenizer.not_split")),
      box,
      this.words.length > MOST && note(t("tokenizer.more", {n: number(this.words.length - MOST)})));
  }

  // What the model reads, as people can read it: bytes as the characters that they spell
  wordText(word) {
    if (word.added) return word.text;
    if (!this.answer.byte_level) return tokenText(word.text);
    const bytes = word.kind === "merges" ? Array.from({length: word.symbols.shape[0]}, (_, i) => this.tokens[word.symbols.data[3 * i]].bytes).flat() : [];
    return bytes.length ? tokenText(new TextDecoder("utf-8", {ignoreBOM: true}).decode(Uint8Array.from(bytes))) : tokenText(word.text);
  }

  choose(i) {
    this.stop();
    this.at = i;
    this.step = NONE;
    this.pieceButtons.forEach((each, k) => setPressed(each, k === i));
    this.context.state.set({word: i, step: null});
    this.showWord();
  }

  // ---- the replay of one word

  showWord() {
    if (!this.words.length) {
      this.replayPlace.replaceChildren(note(t("tokenizer.empty")));
      return;
    }
    const {word} = this, count = this.countOf(word);
    if (this.step === NONE || this.step > count) this.step = count;
    if (word.kind === "whole" || (word.kind === "merges" && !word.symbols.shape[0])) {
      this.replayPlace.replaceChildren(panel(t("tokenizer.replay", {word: short(this.wordText(word))}), note(t(word.added ? "tokenizer.added_help" : "tokenizer.unknown_steps"))));
      return;
    }
    if (word.kind === "merges") this.merges = new Merges(word);
    this.picture = el("div", {class: "scroll tok-scroll", tabindex: 0, role: "region", "aria-label": t("tokenizer.picture")});
    this.said = el("p", {class: "tok-said", role: "status"});
    this.detail = el("div", {class: "tok-detail"});
    this.range = el("input", {type: "range", class: "tok-range", min: 0, max: count, value: this.step, "aria-label": t("tokenizer.step"), oninput: () => {
      this.stop();
      this.goTo(Number(this.range.value));
    }});
    this.counter = el("output", {class: "tok-counter"});
    this.playButton = button(t("tokenizer.play"), () => (this.playing ? this.stop() : this.play()), {disabled: !count});
    this.back = button("◀", () => this.goTo(this.step - 1, true), {"aria-label": t("tokenizer.back")});
    this.forth = button("▶", () => this.goTo(this.step + 1, true), {"aria-label": t("tokenizer.forward")});
    const figure = saveable(this.picture, {name: `${word.kind}-${this.at}`, svg: () => svgText(this.picture.firstChild), png: () => svgPicture(this.picture.firstChild),
      json: () => this.asJson(), rows: () => this.asRows()});
    this.replayPlace.replaceChildren(panel(t("tokenizer.replay", {word: short(this.wordText(word))}), note(t(`tokenizer.${word.kind}_help`)),
      word.kind === "lattice" && !word.agrees && el("p", {class: "note warning"}, t("tokenizer.disagrees")),
      row(this.back, this.forth, this.playButton, this.range, this.counter), this.said, figure, this.detail));
    this.goTo(this.step);
  }

  goTo(step, stop = false) {
    if (stop) this.stop();
    const {word} = this, count = this.countOf(word);
    this.step = Math.max(0, Math.min(count, step));
    this.range.value = this.step;
    this.counter.textContent = `${this.step} / ${count}`;
    this.back.disabled = this.step === 0;
    this.forth.disabled = this.step === count;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.context.signal.aborted || this.context.state.set({word: this.at, step: this.step === count ? null : this.step}), 250);
    const name = t("tokenizer.replay", {word: short(this.wordText(word))});
    if (word.kind === "merges") this.drawMerging(name);
    else if (word.kind === "attempts") this.drawAttempting(name);
    else this.drawLattice(name);
  }

  play() {
    if (this.step >= this.countOf(this.word)) this.goTo(0);
    this.playButton.textContent = t("tokenizer.pause");
    this.playing = setInterval(() => {
      this.goTo(this.step + 1);
      if (this.step >= this.countOf(this.word)) this.stop();
    }, PLAY);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = 0;
    if (this.playButton) this.playButton.textContent = t("tokenizer.play");
  }

  drawMerging(name) {
    const {merges, tokens, step} = this, candidates = merges.candidates(step);
    const drawn = drawMerges(merges, step, tokens, id => this.showToken(id), name);
    roving(drawn, ".tok-box.top")();
    this.picture.replaceChildren(drawn);
    this.follow(drawn.querySelector(".new rect"));
    const last = step ? merges.steps[step - 1] : null;
    const before = last ? merges.after(step - 1).tops : [], at = before.findIndex(top => top.first === last.place);
    const done = last ? t("tokenizer.merged", {left: label(tokens[before[at].id]), right: label(tokens[before[at + 1].id]), merged: label(tokens[last.merged]), rank: number(last.rank)})
      : t("tokenizer.not_merged", {n: number(merges.n)});
    const next = candidates.length ? t("tokenizer.next_merge", {n: candidates.length, left: label(tokens[candidates[0].left]), right: label(tokens[candidates[0].right]), rank: number(candidates[0].rank)})
      : t("tokenizer.no_merge");
    this.said.textContent = `${done} ${next}`;
    this.detail.replaceChildren(candidates.length ? table([t("tokenizer.left"), t("tokenizer.right"), t("tokenizer.rank"), t("tokenizer.order")],
      candidates.slice(0, 12).map((each, i) => [el("code", {}, label(tokens[each.left])), el("code", {}, label(tokens[each.right])), each.rank, i ? "–" : t("tokenizer.lowest")]),
      {name: "candidates", caption: t("tokenizer.candidates", {n: candidates.length})}) : "");
  }

  // Scroll to the box that has just been made.
  follow(box) {
    if (!box) return;
    const at = box.x.baseVal.value, {scrollLeft, clientWidth} = this.picture;
    if (at < scrollLeft || at > scrollLeft + clientWidth - 60) this.picture.scrollLeft = at - clientWidth / 2;
  }

  attempt(i) {
    const [start, end, id] = this.word.attempts.data.subarray(3 * i, 3 * i + 3);
    return {start, end, id, piece: (start ? this.answer.prefix : "") + [...this.word.text].slice(start, end).join("")};
  }

  drawAttempting(name) {
    const {word, step} = this, count = this.countOf(word);
    this.picture.replaceChildren(drawAttempts(word.text, word, step, this.tokens, name));
    const last = step ? this.attempt(step - 1) : null;
    const failed = step === count && word.unknown ? ` ${t("tokenizer.whole_unknown", {token: label(this.tokens[word.pieces.data[0]])})}` : "";
    this.said.textContent = (last ? t(last.id === NONE ? "tokenizer.tried" : "tokenizer.found", {piece: last.piece, id: last.id}) : t("tokenizer.not_tried")) + failed;
    this.detail.replaceChildren(table(["#", t("tokenizer.tried_piece"), t("tokenizer.in_vocabulary")],
      Array.from({length: step}, (_, i) => this.attempt(i)).map(({piece, id}, i) => [i + 1, el("code", {}, piece), id === NONE ? "✕" : `✓ id ${id}`]),
      {name: "attempts"}));
  }

  drawLattice(name) {
    const {word, step} = this;
    this.picture.replaceChildren(drawLattice(word, step, name));
    const edges = Array.from({length: word.edges.shape[0]}, (_, i) => i).filter(i => word.edges.data[4 * i] < step);
    const best = edges.filter(i => word.edges.data[4 * i + 1] === step).map(i => word.totals.data[i]);
    this.said.textContent = t("tokenizer.read", {n: step, edges: edges.length, total: best.length ? number(Math.max(...best), 5) : "–"});
    const pieces = step === this.countOf(word) ? Array.from({length: word.path.shape[0]}, (_, i) => Array.from(word.path.data.subarray(3 * i, 3 * i + 3))) : [];
    this.detail.replaceChildren(pieces.length ? table([t("tokenizer.piece"), "id", t("tokenizer.score")], pieces.map(([id, start, end]) => {
      const edge = edges.find(i => word.edges.data[4 * i] === start && word.edges.data[4 * i + 1] === end);
      return [el("code", {}, [...word.normalized].slice(start, end).join("")), id, edge === undefined ? "–" : word.scores.data[edge]];
    }), {name: "best-path", caption: t("tokenizer.best_path")}) : "");
  }

  asJson() {
    const {word, tokens} = this;
    if (word.kind === "merges") {
      return {text: this.wordText(word), symbols: this.merges.symbols.map(id => ({id, bytes: tokens[id].bytes})),
        merges: this.merges.steps.map(step => ({...step, merged_text: label(tokens[step.merged])})),
        tokens: this.merges.after(this.merges.count).tops.map(top => ({id: top.id, text: label(tokens[top.id])}))};
    }
    if (word.kind === "attempts") return {text: word.text, attempts: Array.from({length: this.countOf(word)}, (_, i) => this.attempt(i))};
    return {text: word.normalized, edges: word.edges, scores: word.scores, totals: word.totals, path: word.path};
  }

  asRows() {
    const {word} = this;
    if (word.kind === "merges") {
      return [["step", "merged", "id", "rank"], ...this.merges.steps.map((step, i) => [i + 1, label(this.tokens[step.merged]), step.merged, step.rank])];
    }
    if (word.kind === "attempts") return [["attempt", "piece", "id"], ...this.asJson().attempts.map((each, i) => [i + 1, each.piece, each.id === NONE ? "" : each.id])];
    return [["start", "end", "score", "total"], ...Array.from({length: word.edges.shape[0]}, (_, i) => [word.edges.data[4 * i], word.edges.data[4 * i + 1], word.scores.data[i], word.totals.data[i]])];
  }

  // ---- one token

  async showToken(id) {
    const mine = (this.asked = {});
    this.context.state.set({token: id});
    try {
      const found = await this.context.ask("tokenizer_token", {id});
      if (mine === this.asked && !this.context.signal.aborted) this.drawToken(found);
    } catch (error) {
      if (mine !== this.asked || this.context.signal.aborted) return;
      this.tokenPlace.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
    }
  }

  drawToken(found) {
    const close = button("✕", () => {
      this.tokenPlace.replaceChildren();
      this.context.state.set({token: null});
    }, {"aria-label": t("shell.close"), class: "small tok-close"});
    const facts = [["id", found.id], [t("tokenizer.spelling"), found.token ?? "∅"], [t("tokenizer.bytes"), hexOf(found.bytes)],
      [t("tokenizer.kind"), found.special ? t("tokenizer.special") : found.added ? t("tokenizer.added") : t("tokenizer.ordinary")],
      ...(found.merges ? [[t("tokenizer.merge_rank"), found.rank === NONE ? t("tokenizer.no_rank") : number(found.rank)]] : []),
      ...(found.norm !== null ? [[t("tokenizer.norm"), t("tokenizer.norm_value", {norm: number(found.norm, 4), mean: number(found.mean_norm, 4)})]] : [])];
    const name = t("tokenizer.token", {token: label(found)});
    let tree = null;
    if (found.merges && found.merges.symbols.shape[0]) {
      const merges = new Merges(found.merges);
      const picture = drawMerges(merges, merges.count, found.tokens, each => each !== found.id && this.showToken(each), t("tokenizer.tree"));
      const isWhole = merges.after(merges.count).tops.length === 1;
      tree = el("div", {}, el("h4", {}, t("tokenizer.tree")), saveable(el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": t("tokenizer.tree")}, picture),
        {name: `token-${found.id}`, svg: () => svgText(picture), png: () => svgPicture(picture)}), !isWhole && note(t("tokenizer.unreachable")));
    }
    const neighbors = found.neighbors.length > 0 && el("div", {}, el("h4", {}, t("tokenizer.neighbors")),
      bars({items: found.neighbors.map(([id, text, cosine]) => ({label: tokenText(text), value: cosine, title: `${tokenText(text)}, id ${id}: ${number(cosine, 4)}`})),
        limits: [Math.min(0, ...found.neighbors.map(each => each[2])), 1], onclick: i => this.showToken(found.neighbors[i][0]), name: `neighbors-${found.id}`, ariaLabel: t("tokenizer.neighbors")}));
    const containing = el("div", {}, el("h4", {}, t("tokenizer.containing", {n: number(found.n_containing)})),
      el("div", {class: "tok-chips"}, found.containing.map(([id, token]) => el("button", {type: "button", class: "tok-chip", title: `id ${id}`, onclick: () => this.showToken(id)}, el("span", {class: "tok-text"}, tokenText(token))))));
    const shown = panel(name, close, el("dl", {class: "tok-facts"}, facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, String(value))))),
      tree, el("div", {class: "grid"}, neighbors, containing));
    shown.classList.add("tok-token");
    this.tokenPlace.replaceChildren(shown);
    shown.scrollIntoView({block: "nearest"});
  }
}
