// Which tokens speak for the answer: three estimates beside the measurement, and whom to trust here.

import {el, tokenText, number, percent, keepingFocus} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {bars, lines, SERIES} from "./chart.js";
import {table} from "./table.js";
import {button, select, slider, panel, row, note, setPressed} from "./controls.js";
import {rgb, inkOn} from "./color.js";
import {saveable} from "./save.js";
import {isOffline} from "./api.js";
import {mark, forgetOthers} from "./question.js";
import {t} from "./messages.js";

const METHODS = ["occlusion", "gradient", "integrated", "attention"];
const ESTIMATES = METHODS.slice(1);
const LAYOUTS = ["text", "bars", "table"];
const STEPS = [4, 8, 16, 32, 64, 128, 256];
const USUAL_STEPS = 32;
const BETTER_THAN_CHANCE = 0.05;
const MOST_PAIRED = 24, MOST_LISTED = 6;
const COLORS = {occlusion: "var(--ink)", gradient: SERIES[0], integrated: SERIES[2], attention: SERIES[3], chance: "var(--muted)"};

export default {
  id: "attribution",
  async render(root, context) {
    const view = new Attribution(root, context);
    await view.start();
  },
};

class Attribution {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.errors = new Map(); // steps -> |sum of integrated gradients - what it should be|
    this.picked = null;
    this.round = 0;
  }

  get state() {
    return this.context.state;
  }

  fields() {
    const wanted = {};
    for (const name of ["token", "against", "position"]) {
      const value = this.state.within(name, -1, -1, 2 ** 31);
      if (value >= 0) wanted[name] = value;
    }
    return wanted;
  }

  get steps() {
    const steps = this.state.get("steps", USUAL_STEPS);
    return STEPS.includes(steps) ? steps : USUAL_STEPS;
  }

  async start() {
    forgetOthers(this.state, this.context.text, ["token", "against", "position", "without"]);
    this.answerBox = el("div");
    this.trustBox = el("div", {class: "trust", role: "status"});
    this.scoresBox = el("div");
    this.pickedBox = el("div");
    this.deletionBox = el("div", {}, note(t("attribution.measuring")));
    this.completeBox = el("div");
    this.pairsBox = el("div");
    this.layout = LAYOUTS.includes(this.state.get("as", "text")) ? this.state.get("as", "text") : "text";
    this.root.append(
      panel(t("attribution.answer_title"), this.answerBox),
      panel(t("attribution.scores_title"), this.layoutBar(), this.scoresBox, this.trustBox, this.pickedBox),
      el("div", {class: "grid"}, panel(t("attribution.deletion_title"), note(t("attribution.deletion_help")), this.deletionBox),
        panel(t("attribution.complete_title"), note(t("attribution.complete_help")), this.completeBox)),
      panel(t("attribution.pairs_title"), note(t("attribution.pairs_help")), this.pairsBox));
    await this.explain();
  }

  change(changes) {
    this.state.set({...changes, of: mark(this.context.text)});
    this.picked = null;
    this.errors.clear();
    this.explain();
  }

  async explain() {
    const {context} = this, mine = ++this.round;
    const steps = this.steps;
    const progress = context.progress(t("attribution.running"));
    if (this.progress) this.progress();
    const controller = new AbortController();
    this.progress = () => controller.abort();
    progress.signal.addEventListener("abort", () => controller.abort(), {once: true});
    try {
      const found = await context.ask("attribute", {...this.fields(), ...(steps === USUAL_STEPS ? {} : {steps})}, {signal: controller.signal, report: (done, total, partial) => {
        if (mine !== this.round || context.signal.aborted) return;
        progress.update(done, total);
        if (partial) this.show(partial);
      }});
      if (mine !== this.round || context.signal.aborted) return;
      this.errors.set(steps, Math.abs(found.complete.sum - found.complete.wanted));
      this.show(found);
    } catch (error) {
      if (error.name === "AbortError" || mine !== this.round) return;
      if (!this.found) {
        this.root.replaceChildren();
        throw error;
      }
      this.answerBox.append(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
    } finally {
      progress.done();
    }
    if (isOffline && !Object.keys(this.fields()).length) {
      await this.measureSteps();
      await this.measurePairs();
    }
  }

  // found: the answer, or the part of it that is known so far
  show(found) {
    this.found = found;
    if (this.picked === null) {
      const kept = this.state.get("without", -1);
      this.picked = Number.isInteger(kept) && kept >= 0 && kept < found.tokens.length ? kept : argmax(Array.from(found.methods.occlusion.scores.data, Math.abs));
    }
    keepingFocus(this.root, () => this.draw());
  }

  draw() {
    const {found} = this;
    this.showAnswer();
    this.showScores();
    this.showPicked();
    if (found.complete) this.showComplete();
    if (!found.deletion) {
      this.trustBox.replaceChildren(note(t("attribution.measuring")));
      this.deletionBox.replaceChildren(note(t("attribution.measuring")));
      return;
    }
    this.showTrust();
    this.showDeletion();
    this.pairsBox.replaceChildren(this.found.tokens.length <= MOST_PAIRED
      ? row(button(t("attribution.measure_pairs"), () => this.measurePairs(), {dataset: {pairs: "measure"}}))
      : note(t("attribution.too_many", {n: this.found.tokens.length, most: MOST_PAIRED})));
  }

  // ---- the question

  showAnswer() {
    const {found} = this;
    const others = [{value: -1, label: t("attribution.nothing")}, ...found.answer.top.concat(found.other && !found.answer.top.some(each => each.id === found.other.id) ? [found.other] : [])
      .filter(each => each.id !== found.token.id).map(each => ({value: each.id, label: tokenText(each.name)}))];
    const shown = found.answer.top.some(each => each.id === found.token.id) ? found.answer.top : [...found.answer.top, {...found.token, p: found.answer.p}];
    const tokens = found.tokens.map((token, i) => {
      const at = i - found.n_source;
      return at < 0 ? el("span", {class: "token"}, tokenText(token)) : el("button", {type: "button", class: "token ask", "aria-pressed": String(i === found.at),
        "aria-label": t("attribution.ask_here", {token: `${at} ${tokenText(token)}`}), title: t("attribution.ask_here", {token: tokenText(token)}),
        onclick: () => this.change({position: at, token: null, against: null, without: null})}, tokenText(token));
    });
    this.answerBox.replaceChildren(
      el("div", {class: "row asked"}, el("span", {class: "facts"}, t("attribution.asked_after")), tokens),
      el("div", {class: "row chips", role: "group", "aria-label": t("attribution.choose")}, el("span", {class: "facts"}, t("attribution.choose")), shown.map(each =>
        el("button", {type: "button", class: "button chip", "aria-pressed": String(each.id === found.token.id), dataset: {token: each.id},
          onclick: () => this.change({token: each.id, against: found.other && found.other.id === each.id ? null : found.other && found.other.id, without: null})},
        el("span", {class: "mono"}, tokenText(each.name)), " ", percent(each.p)))),
      row(select(t("attribution.against"), others, found.other ? found.other.id : -1, id => this.change({against: Number(id) < 0 ? null : id, without: null})),
        el("span", {class: "facts"}, t("attribution.value", {value: number(found.answer.value), what: this.logitName()}))));
  }

  // The methods whose scores have come
  get known() {
    return METHODS.filter(method => method in this.found.methods);
  }

  logitName() {
    const {found} = this;
    return found.other ? `${tokenText(found.token.name)} − ${tokenText(found.other.name)}` : tokenText(found.token.name);
  }

  // ---- the scores

  layoutBar() {
    const bar = el("div", {class: "row", role: "group", "aria-label": t("attribution.layout")}, LAYOUTS.map(name => button(t(`attribution.as_${name}`), event => {
      this.layout = name;
      this.state.set({as: name === "text" ? null : name});
      bar.querySelectorAll("button").forEach(each => setPressed(each, each === event.currentTarget));
      if (this.found) this.showScores();
    }, {pressed: name === this.layout, dataset: {as: name}})));
    return bar;
  }

  showScores() {
    const {found} = this;
    const names = found.tokens.map(tokenText);
    let shown;
    if (this.layout === "bars") {
      shown = el("div", {class: "grid"}, this.known.map(method => el("div", {}, this.methodHead(method), bars({
        items: names.map((name, i) => ({label: name, value: found.methods[method].scores.data[i], title: this.says(method, i)})), signed: true,
        onclick: i => this.pick(i), name: `attribution-${method}`, ariaLabel: t(`attribution.method_${method}`)}))));
    } else if (this.layout === "table") {
      shown = table([t("attribution.position"), t("attribution.token"), ...this.known.map(method => t(`attribution.method_${method}`)), t("attribution.disagree")],
        names.map((name, i) => [i, name, ...this.known.map(method => found.methods[method].scores.data[i]), this.known.filter(method => method !== "occlusion" && found.methods[method].disagrees[i]).map(method => t(`attribution.method_${method}`)).join(", ")]),
        {name: "attribution", sortable: true, onrow: i => this.pick(i), caption: t("attribution.table_caption")});
    } else {
      const body = el("div", {class: "methods"}, this.known.map(method => el("div", {class: `method method-${method}`, role: "group", "aria-label": t(`attribution.method_${method}`)},
        this.methodHead(method), el("div", {class: "said"}, names.map((name, i) => this.coloredToken(method, name, i))))));
      shown = saveable(body, {name: "attribution", json: () => ({tokens: found.tokens, ...Object.fromEntries(this.known.map(method => [method, {...found.methods[method], scores: Array.from(found.methods[method].scores.data)}]))}),
        rows: () => [["token", ...this.known], ...found.tokens.map((token, i) => [token, ...this.known.map(method => found.methods[method].scores.data[i])])]});
    }
    this.scoresBox.replaceChildren(shown, this.layout === "text" ? el("p", {class: "legend"}, el("span", {class: "plus-mark"}, "+"), t("attribution.legend_for"), el("span", {class: "minus-mark"}, "−"), t("attribution.legend_against"),
      el("span", {class: "disagree-mark"}, "≠"), t("attribution.legend_disagrees")) : "");
    this.markPicked();
  }

  methodHead(method) {
    const {correlation, faithfulness} = this.found.methods[method];
    const facts = [t("attribution.faithfulness", {value: faithfulness === null ? "…" : number(faithfulness, 2)})];
    if (method !== "occlusion") facts.push(t("attribution.rank", {value: correlation === null ? "–" : number(correlation, 2)}));
    return el("div", {class: "method-head"}, el("h4", {}, t(`attribution.method_${method}`)), el("span", {class: "facts", dataset: {method, faithfulness: faithfulness ?? "", correlation: correlation ?? ""}}, facts.join(" · ")));
  }

  coloredToken(method, name, i) {
    const {scores, disagrees} = this.found.methods[method];
    const value = scores.data[i], most = Math.max(1e-12, ...scores.data.map(Math.abs));
    const share = value / most;
    const background = rgb(share, -1, 1, true);
    const sign = Math.abs(share) < 0.05 ? "" : share > 0 ? "+" : "−";
    const element = el("button", {type: "button", class: `scored${share < -0.05 ? " against" : ""}${disagrees[i] ? " disagrees" : ""}`, dataset: {i, method}, title: this.says(method, i),
      "aria-label": this.says(method, i), onclick: () => this.pick(i)},
    el("span", {class: "scored-token"}, name), el("span", {class: "scored-sign", "aria-hidden": "true"}, disagrees[i] ? `${sign}≠` : sign || "·"));
    element.style.background = `rgb(${background.join(" ")})`;
    element.style.color = inkOn(background);
    return element;
  }

  // One token by one method, in words.
  says(method, i) {
    const {found} = this;
    const {scores, disagrees} = found.methods[method];
    const said = `${i} ${tokenText(found.tokens[i])}: ${number(scores.data[i])}`;
    return disagrees[i] ? `${said}. ${this.disagreement(method, i)}` : said;
  }

  disagreement(method, i) {
    const {found} = this;
    const measured = found.methods.occlusion.scores.data[i], value = found.methods[method].scores.data[i];
    const name = t(`attribution.method_${method}`), token = tokenText(found.tokens[i]);
    if (found.methods[method].disagrees[i] === "sign") {
      return t(value > 0 ? "attribution.wrongly_for" : "attribution.wrongly_against", {method: name, token, change: number(Math.abs(measured))});
    }
    return t("attribution.wrong_rank", {method: name, token, rank: place(found.methods[method].scores.data, i), true_rank: place(found.methods.occlusion.scores.data, i), n: found.tokens.length});
  }

  pick(i) {
    this.picked = i;
    this.state.set({without: i, of: mark(this.context.text)});
    this.markPicked();
    this.showPicked();
    this.context.announce(this.pickedBox.querySelector("h4").textContent);
  }

  markPicked() {
    this.scoresBox.querySelectorAll("[data-i]").forEach(each => each.classList.toggle("picked", Number(each.dataset.i) === this.picked));
  }

  // Whom to trust here: from the deletion curves.
  showTrust() {
    const {found} = this;
    const ranked = [...ESTIMATES].sort((a, b) => found.methods[b].faithfulness - found.methods[a].faithfulness);
    const f = method => number(found.methods[method].faithfulness, 2);
    const name = method => t(`attribution.method_${method}`);
    const [best, second, last] = ranked;
    const values = {best: name(best), best_f: f(best), second: name(second), second_f: f(second), last: name(last), last_f: f(last), occlusion_f: f("occlusion")};
    let key = "trust_best";
    if (found.methods[best].faithfulness <= BETTER_THAN_CHANCE) key = "trust_none";
    else if (found.methods[last].faithfulness <= BETTER_THAN_CHANCE) key = "trust_some";
    const wrong = METHODS.flatMap(method => found.tokens.map((_, i) => ({method, i, kind: found.methods[method].disagrees[i]})).filter(each => each.kind));
    const weight = ({method, i, kind}) => (kind === "sign" ? 2 : 1) * (share(found.methods[method].scores.data, i) + share(found.methods.occlusion.scores.data, i));
    wrong.sort((a, b) => weight(b) - weight(a));
    this.trustBox.replaceChildren(
      el("p", {class: "verdict", dataset: {best}}, t(`attribution.${key}`, values)),
      wrong.length ? el("details", {open: wrong.length <= MOST_LISTED}, el("summary", {}, t("attribution.disagreements", {n: wrong.length})),
        el("ul", {class: "disagreements"}, wrong.slice(0, 3 * MOST_LISTED).map(({method, i}) => el("li", {}, this.disagreement(method, i))))) : note(t("attribution.all_agree")));
  }

  // ---- the answer without a token

  showPicked() {
    const {found, picked} = this;
    const without = found.without[picked], token = tokenText(found.tokens[picked]);
    const tops = answer => bars({items: answer.top.map(each => ({label: tokenText(each.name), value: each.p, text: percent(each.p),
      color: each.id === found.token.id ? "var(--accent)" : "var(--muted)"})), limits: [0, 1], name: "answers", ariaLabel: t("attribution.top")});
    this.pickedBox.replaceChildren(el("section", {class: "picked-box", "aria-label": t("attribution.without_label")},
      el("h4", {}, t("attribution.without", {token, position: picked, before: number(found.answer.value), after: number(without.value), before_p: percent(found.answer.p), after_p: percent(without.p)})),
      el("div", {class: "grid"}, el("div", {}, el("h5", {}, t("attribution.with_it")), tops(found.answer)), el("div", {}, el("h5", {}, t("attribution.without_it")), tops(without)))));
  }

  // ---- how faithful each method is

  showDeletion() {
    const {deletion} = this.found;
    const x = Array.from(deletion.n_deleted.data);
    this.deletionBox.replaceChildren(lines({series: [...METHODS.map(method => ({label: `${t(`attribution.method_${method}`)} (${number(this.found.methods[method].faithfulness, 2)})`, x, y: Array.from(deletion.curves[method].data), color: COLORS[method]})),
      {label: t("attribution.chance"), x, y: Array.from(deletion.chance.data), color: COLORS.chance}], xLabel: t("attribution.n_deleted"), yLabel: t("attribution.value_left"), points: x.length <= 12,
      name: "deletion-curves", ariaLabel: t("attribution.deletion_title")}));
  }

  // ---- completeness of integrated gradients

  showComplete() {
    const {sum, wanted} = this.found.complete;
    const index = Math.max(0, STEPS.indexOf(this.steps));
    const off = Math.abs(sum - wanted);
    const control = slider(t("attribution.steps"), {min: 0, max: STEPS.length - 1, value: index, show: i => String(STEPS[i])}, i => {
      this.state.set({steps: STEPS[i] === USUAL_STEPS ? null : STEPS[i]});
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.explain(), 250);
    });
    this.completeBox.replaceChildren(
      el("p", {class: "complete", dataset: {sum, wanted}}, t("attribution.complete", {sum: number(sum), wanted: number(wanted), off: number(off), share: wanted ? percent(off / Math.abs(wanted)) : "–", steps: this.steps})),
      row(control, button(t("attribution.measure_steps"), () => this.measureSteps(), {dataset: {steps: "measure"}})), this.errorBox = el("div"));
    this.showErrors();
  }

  showErrors() {
    const known = [...this.errors].sort((a, b) => a[0] - b[0]);
    this.errorBox.replaceChildren(known.length < 2 ? "" : lines({series: [{label: t("attribution.error"), x: known.map(each => Math.log2(each[0])), y: known.map(each => each[1])}], points: true, height: 190,
      xLabel: t("attribution.log_steps"), yLabel: t("attribution.error"), yLimits: [0, Math.max(...known.map(each => each[1])) * 1.05 || 1], name: "completeness", ariaLabel: t("attribution.complete_title")}),
    known.length < 2 ? "" : table([t("attribution.steps"), t("attribution.error")], known, {name: "completeness", caption: t("attribution.error")}));
  }

  async measureSteps() {
    await this.long("attribution.measuring_steps", "completeness", {}, this.completeBox, (answer, partial) => {
      if (partial) this.errors.set(partial.steps, Math.abs(partial.sum - this.found.complete.wanted));
      else answer.steps.forEach((steps, k) => this.errors.set(steps, Math.abs(answer.sums.data[k] - answer.wanted)));
      this.showErrors();
    });
  }

  async measurePairs() {
    await this.long("attribution.measuring_pairs", "token_pairs", {}, this.pairsBox, answer => {
      if (!answer) return;
      const names = answer.tokens.map((token, i) => `${i} ${tokenText(token)}`), n = names.length;
      const value = (i, j) => answer.interaction.data[i * n + j];
      let [a, b] = [0, 1];
      for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) if (Math.abs(value(i, j)) > Math.abs(value(a, b))) [a, b] = [i, j];
      this.pairsBox.replaceChildren(
        n > 1 ? el("p", {}, t(value(a, b) > 0 ? "attribution.strongest_more" : "attribution.strongest_less", {a: tokenText(answer.tokens[a]), b: tokenText(answer.tokens[b]), both: number(value(a, b) + answer.alone.data[a] + answer.alone.data[b]),
          sum: number(answer.alone.data[a] + answer.alone.data[b])})) : "",
        heatMap({rows: n, columns: n, value, signed: true, rowLabels: names, columnLabels: names, label: t("attribution.interaction"), name: "token-pairs", cell: 30,
          describe: (i, j) => (i === j ? [names[i], `${t("attribution.alone")}: ${number(value(i, i))}`] : [`${names[i]} + ${names[j]}`, `${t("attribution.interaction")}: ${number(value(i, j))}`]),
          ariaLabel: t("attribution.pairs_title")}));
    });
  }

  // Ask a long question with a progress bar; show(answer, partial) shows what came.
  async long(label, name, fields, box, show) {
    const progress = this.context.progress(t(label));
    try {
      show(await this.context.ask(name, {...this.fields(), ...fields}, {signal: progress.signal, report: (done, total, partial) => {
        progress.update(done, total);
        if (partial) show(null, partial);
      }}), null);
    } catch (error) {
      if (error.name !== "AbortError") box.append(el("p", {class: "error", role: "alert"}, error.offline ? t("shell.offline") : error.message));
    } finally {
      progress.done();
    }
  }
}

function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

// -> the place of a token when the highest score is first, from 1
function place(scores, i) {
  return 1 + Array.from(scores).filter(each => each > scores[i]).length;
}

function share(scores, i) {
  return Math.abs(scores[i]) / Math.max(1e-12, ...Array.from(scores, Math.abs));
}
