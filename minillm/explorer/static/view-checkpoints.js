// A run's history: what each head looks at, its scores, the prediction and the loss, at every step that the run has kept.

import {el, append, table, number, tokenText, percent} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {bars, lines, SERIES} from "./chart.js";
import {button, select, panel, row, note} from "./controls.js";
import {saveable} from "./save.js";
import {rgb} from "./color.js";
import {t} from "./messages.js";

const SCORES = ["previous", "induction", "first", "itself", "entropy"];
const PACE = 450; // milliseconds that each step is shown while playing
const CURVES = 6; // heads with a curve of their own

export default {
  id: "checkpoints",
  async render(root, context) {
    const history = await context.ask("run_history");
    if (!history.run) {
      explain(root, history.commands);
      return;
    }
    if (!history.steps.length) {
      root.append(panel(t("checkpoints.title"), note(t("checkpoints.none"))));
      return;
    }
    await new Scrubber(root, context, history).start();
  },
};

const KINDS = ["demo", "explore", "finetune"];

function explain(root, commands) {
  root.append(panel(t("checkpoints.no_run"), el("p", {}, t("checkpoints.no_run_why")),
    el("ol", {class: "commands"}, commands.map((command, i) => el("li", {}, t(`checkpoints.make_${KINDS[i]}`),
      el("pre", {class: "scroll", tabindex: 0, role: "region", "aria-label": t(`checkpoints.make_${KINDS[i]}`)}, el("code", {}, command)))))));
}

class Scrubber {
  constructor(root, context, history) {
    Object.assign(this, {root, context, history, answers: new Map(), found: [], playing: 0, wanted: 0});
    const {steps} = history;
    const step = context.state.get("step", steps[steps.length - 1]);
    this.index = nearest(steps, step);
    this.head = [context.state.get("layer", 0), context.state.get("head", 0)];
    this.score = context.state.get("score", "previous");
  }

  async start() {
    const first = await this.get(this.index);
    this.tokens = first.tokens.map(tokenText);
    this.shape = first.weights.shape;
    this.head = this.head.map((value, k) => Math.max(0, Math.min(Math.trunc(value), this.shape[k] - 1)));
    this.build();
    this.show(first);
    this.prefetch().then(() => this.scores()).catch(error => this.quiet(error));
  }

  quiet(error) {
    if (this.context.signal.aborted || error.name === "AbortError" || error.offline) return;
    this.errors.replaceChildren(el("p", {class: "error"}, error.message));
  }

  // ---- answers: each step is asked for once

  async get(index) {
    if (!this.answers.has(index)) {
      this.answers.set(index, this.context.ask("checkpoint", {step: this.history.steps[index]}).catch(error => {
        this.answers.delete(index);
        throw error;
      }));
    }
    return this.answers.get(index);
  }

  // All other steps, the nearest first, one after the other, so that moving doesn't wait
  async prefetch() {
    const order = this.history.steps.map((_, i) => i).sort((a, b) => Math.abs(a - this.index) - Math.abs(b - this.index));
    for (const index of order) {
      if (this.context.signal.aborted) return;
      await this.get(index).catch(error => this.quiet(error));
    }
    this.root.dataset.loaded = String(this.answers.size);
  }

  // ---- the frame

  build() {
    const {steps, run} = this.history;
    this.play = button(t("checkpoints.play"), () => this.toggle(), {class: "button primary"});
    this.slider = el("input", {type: "range", min: 0, max: steps.length - 1, step: 1, value: this.index, class: "scrubber",
      "aria-label": t("checkpoints.step"), oninput: () => {
        this.stop();
        this.move(Number(this.slider.value));
      }});
    this.label = el("output", {class: "mono", dataset: {name: "step"}});
    this.kind = el("span", {class: "badge"});
    this.errors = el("div", {role: "alert"});
    this.parts = Object.fromEntries(["loss", "prediction", "heads", "head", "scores", "table"].map(name => [name, el("div", {class: `checkpoints-${name}`})]));
    const p = this.parts;
    append(this.root, [
      el("div", {class: "scrub"}, this.play, button("‹", () => this.by(-1), {"aria-label": t("checkpoints.earlier"), title: t("checkpoints.earlier")}), this.slider,
        button("›", () => this.by(1), {"aria-label": t("checkpoints.later"), title: t("checkpoints.later")}), this.label, this.kind),
      this.errors, this.few(),
      el("div", {class: "grid"}, panel(t("checkpoints.loss", {run}), p.loss), panel(t("checkpoints.prediction"), p.prediction)),
      el("div", {class: "grid heads-and-one"}, panel(t("checkpoints.heads"), p.heads), panel(t("checkpoints.one_head"), p.head)),
      panel(t("checkpoints.scores"), p.scores),
      panel(t("checkpoints.table"), p.table)]);
    this.buildLoss();
    this.buildHeads();
    this.buildHead();
  }

  few() {
    const {commands, steps} = this.history;
    return commands.length ? el("p", {class: "note"}, t("checkpoints.few", {n: steps.length}), " ", el("code", {}, commands[0])) : null;
  }

  buildLoss() {
    const {series} = this.history;
    const drawn = [["loss", "train_loss", SERIES[0]], ["valid_loss", "valid_loss", SERIES[1]]].filter(([name]) => series[name].x.data.length)
      .map(([name, label, color]) => ({label: t(`checkpoints.${label}`), x: series[name].x.data, y: series[name].y.data, color}));
    this.loss = drawn.length ? lines({series: drawn, xLabel: t("checkpoints.step"), yLabel: t("checkpoints.loss_axis"), marks: this.marks(), height: 230,
      xLimits: [0, this.history.total], onclick: x => this.goToStep(x), name: "run-loss", ariaLabel: t("checkpoints.loss_label")}) : note(t("checkpoints.no_metrics"));
    this.parts.loss.replaceChildren(this.loss);
  }

  // Small multiples: one picture a head, a row for each layer
  buildHeads() {
    const [L, H] = this.shape;
    this.cells = [];
    const grid = el("div", {class: "multiples", role: "group", "aria-label": t("checkpoints.pictures")});
    grid.style.setProperty("--heads", H);
    for (let layer = 0; layer < L; layer++) {
      for (let head = 0; head < H; head++) {
        const canvas = el("canvas", {width: this.tokens.length, height: this.tokens.length, "aria-hidden": "true"});
        const cell = el("button", {type: "button", class: "multiple", dataset: {head: `${layer}.${head}`}, onclick: () => this.choose(layer, head)},
          canvas, el("span", {class: "multiple-label"}, `${layer}.${head}`));
        this.cells.push({canvas, cell, layer, head});
        grid.append(cell);
      }
    }
    const scroller = el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": t("checkpoints.pictures")}, grid);
    this.parts.heads.replaceChildren(saveable(scroller, {name: "heads", png: () => this.sheet(), json: () => this.weightsNow(),
      rows: () => this.scoreRows()}), note(t("checkpoints.heads_help")));
  }

  buildHead() {
    const n = this.tokens.length;
    this.caption = el("p", {class: "note"});
    this.exact = button(t("checkpoints.exact"), () => this.showExact(), {});
    this.map = heatMap({rows: n, columns: n, value: (i, j) => (this.large ? this.large[i * n + j] : 0), limits: [0, 1], rowLabels: this.tokens, columnLabels: this.tokens,
      label: t("checkpoints.weight"), name: "head", rowTitle: "", maxHeight: 620, describe: (i, j) => [`${this.tokens[i]} → ${this.tokens[j]}`, number(this.large[i * n + j])],
      ariaLabel: t("checkpoints.one_head")});
    this.parts.head.replaceChildren(this.caption, this.map, row(this.exact,
      button(t("checkpoints.open_attention"), () => this.context.goTo("attention", {layer: this.head[0], head: this.head[1]}))));
  }

  // ---- moving

  by(change) {
    this.stop();
    this.move(Math.max(0, Math.min(this.history.steps.length - 1, this.index + change)));
  }

  goToStep(step) {
    this.stop();
    this.move(nearest(this.history.steps, step));
  }

  async move(index) {
    this.index = index;
    const mine = ++this.wanted;
    this.slider.value = index;
    this.title();
    try {
      const answer = await this.get(index);
      if (mine === this.wanted && !this.context.signal.aborted) this.show(answer);
    } catch (error) {
      this.quiet(error);
    }
  }

  toggle() {
    if (this.playing) {
      this.stop();
      return;
    }
    this.playing = 1;
    this.play.textContent = t("checkpoints.pause");
    if (this.index === this.history.steps.length - 1) this.index = -1;
    const next = async () => {
      if (!this.playing || this.context.signal.aborted) return;
      if (this.index >= this.history.steps.length - 1) {
        this.stop();
        return;
      }
      const started = performance.now();
      await this.move(this.index + 1);
      this.playing = setTimeout(next, Math.max(30, PACE - (performance.now() - started)));
    };
    next();
  }

  stop() {
    if (!this.playing) return;
    clearTimeout(this.playing);
    this.playing = 0;
    this.play.textContent = t("checkpoints.play");
    this.context.announce(this.slider.getAttribute("aria-valuetext"));
  }

  choose(layer, head) {
    this.head = [layer, head];
    this.context.state.set({layer: layer || null, head: head || null});
    this.showHead();
    this.showScores();
  }

  // ---- what is shown

  marks() {
    return [{x: this.history.steps[this.index], label: ""}];
  }

  title() {
    const {steps, exact, total} = this.history, step = steps[this.index];
    const said = t("checkpoints.at", {step: number(step), total: number(total)});
    this.label.textContent = said;
    this.label.dataset.value = step;
    this.kind.textContent = t(exact[this.index] ? "checkpoints.is_exact" : "checkpoints.is_rounded");
    this.slider.setAttribute("aria-valuetext", said);
    this.context.state.set({step: this.index === steps.length - 1 ? null : step});
  }

  show(answer) {
    this.current = answer;
    this.title();
    if (this.loss.update) this.loss.update({marks: this.marks()});
    this.drawHeads();
    this.showHead();
    this.showPrediction();
    if (this.curves) this.curves.update({marks: this.marks()});
    if (this.lossOfText) this.lossOfText.update({marks: this.marks()});
    if (this.overview) this.overview.select(this.head[0] * this.shape[1] + this.head[1], this.index);
    this.markRow();
  }

  drawHeads() {
    const n = this.tokens.length, {weights, scores} = this.current;
    const colors = Array.from({length: 256}, (_, i) => rgb(i / 255, 0, 1));
    this.cells.forEach(({canvas, cell, layer, head}, k) => {
      const image = new ImageData(n, n), at = k * n * n;
      for (let i = 0; i < n * n; i++) {
        const [r, g, b] = colors[weights.data[at + i]];
        image.data.set([r, g, b, 255], 4 * i);
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
      const said = SCORES.filter(name => scores[name]).map(name => `${t(`checkpoints.score_${name}`)} ${number(scores[name].data[k], 2)}`).join(", ");
      cell.title = `${layer}.${head}: ${said}`;
      cell.setAttribute("aria-label", t("checkpoints.head_label", {layer, head, scores: said}));
      cell.setAttribute("aria-pressed", String(layer === this.head[0] && head === this.head[1]));
    });
  }

  showHead() {
    const n = this.tokens.length, [layer, head] = this.head, k = layer * this.shape[1] + head;
    const {weights, scores, n_tokens: all} = this.current;
    this.large = Float32Array.from(weights.data.subarray(k * n * n, (k + 1) * n * n), x => x / 255);
    this.isExact = false;
    this.exact.disabled = false;
    this.map.update({name: `head-${layer}.${head}`});
    this.cells.forEach(each => each.cell.setAttribute("aria-pressed", String(each.layer === layer && each.head === head)));
    this.caption.textContent = [t("checkpoints.head_name", {layer, head}),
      ...SCORES.filter(name => scores[name]).map(name => `${t(`checkpoints.score_${name}`)} ${number(scores[name].data[k], 3)}`),
      ...(all > n ? [t("checkpoints.part", {n, all})] : []), t("checkpoints.rounded")].join(" · ");
  }

  async showExact() {
    const {step} = this.current, n = this.tokens.length, k = this.head[0] * this.shape[1] + this.head[1];
    this.exact.disabled = true;
    try {
      const {weights} = await this.context.ask("checkpoint", {step, exact: true});
      if (step !== this.current.step) return;
      this.large = weights.data.subarray(k * n * n, (k + 1) * n * n);
      this.map.update({});
      this.caption.textContent = this.caption.textContent.replace(t("checkpoints.rounded"), t("checkpoints.exact_now"));
    } catch (error) {
      this.exact.disabled = false;
      if (this.context.signal.aborted) return;
      this.errors.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
    }
  }

  showPrediction() {
    const {top, answer, loss, position, tokens} = this.current;
    if (!top.length) {
      this.parts.prediction.replaceChildren(note(t("checkpoints.says_nothing")));
      return;
    }
    const figures = el("div", {class: "figures"},
      loss !== null && figure(t("checkpoints.text_loss"), loss, "loss"),
      answer && figure(t("checkpoints.answer_p", {answer: tokenText(answer.name)}), answer.p, "answer"));
    this.parts.prediction.replaceChildren(note(t("checkpoints.after_token", {token: tokenText(tokens[position] ?? "…")})), figures,
      bars({items: top.map(each => ({label: tokenText(each.name), value: each.p, text: percent(each.p)})), limits: [0, 1], name: "prediction",
        ariaLabel: t("checkpoints.prediction")}));
  }

  // ---- the scores of all heads over all steps: a long question, which grows as it is answered

  async scores() {
    const progress = this.context.progress(t("checkpoints.measuring"));
    this.root.dataset.scores = "growing";
    try {
      const whole = await this.context.ask("head_history", {}, {signal: progress.signal, report: (done, total, partial) => {
        progress.update(done, total);
        if (!partial) return;
        this.found.push(partial);
        if (this.found.length === 1 || this.found.length % 4 === 0) this.showScores();
      }});
      this.found = rowsOf(whole, this.history.steps);
      this.root.dataset.scores = "done";
    } finally {
      progress.done();
      if (!this.context.signal.aborted) {
        this.showScores();
        this.showTable();
      }
    }
  }

  scoreNames() {
    return SCORES.filter(name => this.found[0].scores[name]);
  }

  showScores() {
    if (!this.found.length || this.context.signal.aborted) return;
    const names = this.scoreNames();
    if (!names.includes(this.score)) this.score = names[0];
    const H = this.shape[1], n = this.shape[0] * H, steps = this.found.map(each => each.step);
    const values = this.found.map(each => each.scores[this.score].data);
    const chosen = this.head[0] * H + this.head[1];
    const last = values[values.length - 1];
    const most = Array.from({length: n}, (_, k) => k).sort((a, b) => last[b] - last[a]).slice(0, CURVES);
    const drawn = [...new Set([chosen, ...most])].slice(0, CURVES);
    const name = k => t("checkpoints.head_short", {layer: Math.floor(k / H), head: k % H});
    const series = drawn.map((k, c) => ({label: name(k) + (k === chosen ? " ◂" : ""), x: steps, y: values.map(each => each[k]), color: SERIES[c % SERIES.length]}));
    const limits = [0, Math.max(0.1, ...values.map(each => Math.max(...each)))];
    if (!this.curves || this.curves.score !== this.score) {
      const choice = select(t("checkpoints.score"), names.map(each => ({value: each, label: t(`checkpoints.score_${each}`)})), this.score, value => {
        this.score = value;
        this.context.state.set({score: value});
        this.showScores();
      });
      this.curves = lines({series, xLabel: t("checkpoints.step"), yLabel: t(`checkpoints.score_${this.score}`), yLimits: limits, marks: this.marks(), points: true,
        xLimits: [0, this.history.total], onclick: x => this.goToStep(x), name: `scores-${this.score}`, ariaLabel: t("checkpoints.scores"), height: 260});
      this.curves.score = this.score;
      this.overview = heatMap({rows: n, columns: steps.length, value: (i, j) => values[j][i], limits, rowLabels: Array.from({length: n}, (_, k) => name(k)), columnLabels: steps.map(String),
        label: t(`checkpoints.score_${this.score}`), name: `heads-${this.score}`, rowTitle: "", columnTitle: t("checkpoints.step"), maxHeight: 460,
        onclick: (i, j) => {
          this.choose(Math.floor(i / H), i % H);
          this.goToStep(this.found[j].step);
        }, ariaLabel: t("checkpoints.overview")});
      const hasFocus = this.parts.scores.contains(document.activeElement) && document.activeElement.tagName === "SELECT";
      this.parts.scores.replaceChildren(row(choice), note(t(`checkpoints.about_${this.score}`)), el("div", {class: "grid"}, this.curves, this.overview));
      if (hasFocus) choice.querySelector("select").focus();
    } else {
      this.curves.update({series, marks: this.marks(), yLimits: limits});
      this.overview.update({columns: steps.length, value: (i, j) => values[j][i], columnLabels: steps.map(String), limits});
    }
    this.overview.select(chosen, Math.max(0, steps.indexOf(this.history.steps[this.index])));
  }

  showTable() {
    if (!this.found.length) return;
    const hasLoss = this.found.some(each => each.loss !== null);
    const answer = this.current.answer ? tokenText(this.current.answer.name) : null;
    const rows = this.found.map(each => [each.step, ...(hasLoss ? [each.loss ?? ""] : []), ...(answer === null ? [] : [tokenText(each.said), each.p_said, each.p])]);
    this.table = table([t("checkpoints.step"), ...(hasLoss ? [t("checkpoints.text_loss")] : []), ...(answer === null ? [] : [t("checkpoints.says"), t("checkpoints.probability"), t("checkpoints.answer_p", {answer})])],
      rows, {name: "predictions", onrow: i => this.goToStep(this.found[i].step)});
    this.table.querySelector(".scroll").classList.add("tall");
    const x = this.found.map(each => each.step);
    const series = [...(hasLoss ? [{label: t("checkpoints.text_loss"), x, y: this.found.map(each => each.loss)}] : [])];
    this.lossOfText = series.length ? lines({series, xLabel: t("checkpoints.step"), yLabel: t("checkpoints.text_loss"), marks: this.marks(), points: true, height: 240,
      xLimits: [0, this.history.total], onclick: step => this.goToStep(step), name: "text-loss", ariaLabel: t("checkpoints.text_loss")}) : null;
    this.parts.table.replaceChildren(note(t("checkpoints.table_help")), el("div", {class: "grid"}, this.table, this.lossOfText));
    this.markRow();
  }

  markRow() {
    if (!this.table) return;
    const at = this.found.findIndex(each => each.step === this.history.steps[this.index]);
    for (const line of this.table.querySelectorAll("tr[data-row]")) {
      if (Number(line.dataset.row) === at) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
  }

  // ---- what is saved

  weightsNow() {
    const {step, tokens, weights} = this.current;
    return {step, tokens, weights_times_255: weights};
  }

  scoreRows() {
    const {step, scores} = this.current, names = SCORES.filter(name => scores[name]);
    return [["step", "layer", "head", ...names], ...this.cells.map(({layer, head}, k) => [step, layer, head, ...names.map(name => scores[name].data[k])])];
  }

  sheet() {
    const size = Math.max(64, this.tokens.length), gap = 8, [L, H] = this.shape;
    const whole = el("canvas", {width: H * (size + gap) + gap, height: L * (size + gap) + gap});
    const context = whole.getContext("2d");
    context.imageSmoothingEnabled = false;
    this.cells.forEach(({canvas, layer, head}) => context.drawImage(canvas, gap + head * (size + gap), gap + layer * (size + gap), size, size));
    return whole;
  }
}

function nearest(steps, step) {
  return steps.reduce((best, each, i) => (Math.abs(each - step) < Math.abs(steps[best] - step) ? i : best), 0);
}

// The whole answer as a list of what `report` gets for each step
function rowsOf(whole, steps) {
  const or = x => (Number.isFinite(x) ? x : null);
  return Array.from(whole.steps.data, (step, i) => ({
    step, loss: or(whole.loss.data[i]), p: or(whole.p.data[i]), p_said: or(whole.p_said.data[i]), said: whole.said[i],
    scores: Object.fromEntries(SCORES.map(name => {
      const all = whole.scores[name];
      const size = all && all.data.length / all.shape[0];
      return [name, all && {shape: all.shape.slice(1), data: all.data.subarray(i * size, (i + 1) * size)}];
    })),
  }));
}

function figure(label, value, name) {
  return el("div", {class: "figure"}, el("span", {class: "figure-label"}, label),
    el("output", {class: "figure-value", title: String(value), dataset: {name, value}}, number(value)));
}
