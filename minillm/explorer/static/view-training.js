// One training step on a copy of the model: every number that changes, the whole of Adam for one of them, and undo.

import {el, svg, append, table, number, tokenText, percent} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {lines} from "./chart.js";
import {button, select, field, panel, row, note} from "./controls.js";
import {t} from "./messages.js";

const OPTIMIZERS = ["AdamW", "Adam", "SGD"];
const MANY = [10, 100];
const LONG = 6; // digits in formulas

export default {
  id: "training",
  async render(root, context) {
    await new Training(root, context).start();
  },
};

class Training {
  constructor(root, context) {
    Object.assign(this, {root, context, waiting: 0, queue: Promise.resolve(), answer: null, window: null});
    this.place = context.state.get("position", -1);
    this.parameter = context.state.get("parameter", "");
    this.at = [context.state.get("row", 0), context.state.get("column", 0)];
    this.cell = [context.state.get("i", 0), context.state.get("j", 0)];
    this.options = {
      optimizer: context.state.get("optimizer", OPTIMIZERS[0]), lr: context.state.get("lr", 0.001),
      weight_decay: context.state.get("weight_decay", 0), clip: context.state.get("clip", 1),
    };
    this.lessonFields = {target: context.state.get("target", ""), hide: context.state.within("hide", -1, -1, 2 ** 31)};
  }

  async start() {
    let answer, isOffline = false;
    try {
      answer = await this.context.ask("practice", this.lessonFields);
    } catch (error) {
      if (!error.offline) throw error;
      answer = await this.context.ask("example_step");
      isOffline = true;
    }
    this.isOffline = isOffline;
    this.lesson = answer.lesson;
    this.build();
    if (isOffline && answer.parameter) this.parameter = answer.parameter.name;
    this.window = isOffline ? answer.parameter : null;
    await this.show(answer);
  }

  // ---- the frame: it stays, what is in it changes

  build() {
    this.buttons = {
      step: button(t("training.step"), () => this.act("step"), {class: "button primary"}),
      ...Object.fromEntries(MANY.map(n => [`many${n}`, button(t("training.many", {n}), () => this.many(n))])),
      undo: button(t("training.undo"), () => this.act("undo")),
      redo: button(t("training.redo"), () => this.act("redo")),
      reset: button(t("training.reset"), () => this.reset()),
    };
    this.where = el("p", {class: "note"});
    this.parts = Object.fromEntries(["loss", "tokens", "prediction", "parameters", "parameter", "number"].map(name =>
      [name, el("div", {class: `training-${name}`})]));
    const p = this.parts;
    this.errors = el("div", {role: "alert"});
    this.root.append(
      panel(t("training.controls"), row(...this.optionControls()), this.lessonControls(),
        row(...Object.values(this.buttons)), this.where, this.errors,
        this.lesson.error && el("p", {class: "note warning training-refusal"}, this.lesson.error)),
      panel(t("training.loss"), p.loss),
      el("div", {class: "grid"}, panel(t("training.tokens"), p.tokens), panel(t("training.prediction"), p.prediction)),
      panel(t("training.parameters"), p.parameters),
      panel(t("training.one_parameter"), p.parameter),
      panel(t("training.one_number"), p.number));
  }

  optionControls() {
    if (this.isOffline) return [note(t("training.offline"))];
    const numeric = (name, label) => field(label, String(this.options[name]), value => {
      this.options[name] = Number(value);
      this.context.state.set({[name]: value});
    }, {type: "number", min: 0, step: "any", class: "short"});
    return [
      select(t("training.optimizer"), OPTIMIZERS, this.options.optimizer, value => {
        this.options.optimizer = value;
        this.context.state.set({optimizer: value});
      }),
      numeric("lr", t("training.lr")), numeric("weight_decay", t("training.decay")), numeric("clip", t("training.clip")),
    ];
  }

  // What the text should teach, where it doesn't say so itself
  lessonControls() {
    const {says, labels, encoder_decoder: pairs, mask, kind, rows} = this.lesson;
    if (this.isOffline) return null;
    const change = async changes => {
      Object.assign(this.lessonFields, changes);
      this.context.state.set(changes);
      this.context.goTo("training");
    };
    const own = {value: "", label: t("training.own")};
    if (says === "text label" && labels) {
      return row(select(t("training.label"), [own, ...labels], this.lessonFields.target, target => change({target})));
    }
    const text = label => field(label, this.lessonFields.target, target => change({target}), {placeholder: t("training.own")});
    if (says === "token label") return row(text(t("training.labels", {labels: (labels || []).join(" ")})));
    if (says === "span") return row(text(t("training.answer")));
    if (pairs) return row(text(t("training.target")));
    if (says !== "token" || !mask || (kind && kind !== "masked token")) return null;
    if (this.context.text.includes(mask)) return row(text(t("training.behind", {mask})));
    const places = (rows || []).map((token, i) => ({value: i, label: `${i}: ${tokenText(token)}`}));
    return row(select(t("training.hide"), [{value: -1, label: t("training.last")}, ...places], this.lessonFields.hide,
      value => change({hide: Number(value)})));
  }

  // ---- what the user does

  async act(name) {
    const fields = name === "step" ? {...this.options, ...this.lessonFields} : {};
    await this.working(async () => this.show(await this.context.ask(name, fields)));
    const step = this.answer.step;
    if (step) this.context.announce(t("training.said", {n: step.number, before: number(step.loss_before), after: number(step.loss_after)}));
  }

  async many(n) {
    const progress = this.context.progress(t("training.many", {n}));
    await this.working(async () => {
      try {
        const answer = await this.context.ask("steps", {n, ...this.options, ...this.lessonFields}, {
          signal: progress.signal,
          report: (done, total, partial) => {
            progress.update(done, total);
            if (partial) this.grow(partial);
          },
        });
        await this.show(answer);
      } catch (error) {
        if (this.context.signal.aborted) return;
        await this.show(await this.context.ask("practice", this.lessonFields));
        if (!progress.signal.aborted) throw error;
      } finally {
        progress.done();
      }
    });
  }

  async reset() {
    await this.working(async () => {
      await this.context.ask("reset_practice");
      await this.context.refreshModels();
      this.context.goTo("training");
    });
  }

  // One question after the other; an error is shown beside the buttons.
  working(action) {
    this.waiting += 1;
    this.queue = this.queue.then(async () => {
      if (this.context.signal.aborted) return;
      this.errors.replaceChildren();
      this.enable();
      try {
        await action();
      } catch (error) {
        if (error.name === "AbortError" || this.context.signal.aborted) return;
        this.errors.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
      }
    }).finally(() => {
      this.waiting -= 1;
      this.enable();
    });
    return this.queue;
  }

  enable() {
    const {undo = 0, redo = 0, steps = 0} = this.answer || {};
    const can = {undo: undo > 0, redo: redo > 0, reset: steps > 0 || redo > 0};
    for (const [name, element] of Object.entries(this.buttons)) element.disabled = this.isOffline || !(can[name] ?? !this.lesson.error);
    this.root.setAttribute("aria-busy", String(this.waiting > 0));
  }

  // ---- what is shown

  async show(answer) {
    const before = this.answer;
    this.answer = answer;
    if (answer.lesson) this.lesson = answer.lesson;
    const {undo, redo, steps, bytes, limit} = answer;
    this.where.textContent = t("training.where", {steps: number(steps), undo, redo, mb: number(Math.round(bytes / 2 ** 20)), limit: number(Math.round(limit / 2 ** 20))});
    this.enable();
    this.showLoss();
    this.showTokens();
    this.showParameters();
    await this.showParameter();
    const isNew = (steps > 0) !== Boolean(before && before.steps > 0);
    if (isNew && !this.isOffline && before) await this.context.refreshModels();
  }

  // The last step, if it was made with the text of this page; else what the text says now
  shown() {
    const {step} = this.answer, {lesson} = this;
    const same = step && (lesson.error || JSON.stringify([lesson.rows, lesson.targets]) === JSON.stringify([step.rows, step.targets]));
    if (same) return {...step, now: false};
    if (lesson.error) return null;
    return {...lesson, now: true, losses_before: lesson.losses, losses_after: null, loss_before: lesson.loss};
  }

  showLoss() {
    const {step, curve} = this.answer, {loss} = this.parts;
    if (!step) {
      loss.replaceChildren(this.lesson.error ? note(t("training.nothing")) :
        el("div", {class: "figures"}, figure(t("training.loss_now"), this.lesson.loss, "loss_now")), note(t("training.first")));
      return;
    }
    const change = step.loss_after - step.loss_before;
    const other = this.shown() && this.shown().now;
    this.chart = this.curveChart(curve);
    fill(loss,
      el("div", {class: "figures"},
        figure(t("training.before"), step.loss_before, "loss_before"),
        figure(t("training.after"), step.loss_after, "loss_after"),
        figure(t("training.change"), change, "change", change < 0 ? "better" : "worse"),
        figure(step.linear === null ? t("training.predicted") : t("training.predicted_sgd"), step.predicted, "predicted"),
        figure(t("training.norm"), step.norm, "norm"),
        step.clip > 0 && figure(t("training.scale"), step.grad_scale, "grad_scale")),
      note(t("training.promise", {share: step.predicted ? percent(change / step.predicted, 0) : "–"}),
        step.linear === null ? "" : ` −η c ‖g‖² = ${number(step.linear, LONG)}`),
      other && note(t("training.other_text", {loss: number(this.lesson.loss)})),
      this.chart);
  }

  curveChart({before, after}) {
    const x = [], y = [];
    before.data.forEach((loss, i) => {
      if (i === 0 || loss !== after.data[i - 1]) {
        x.push(i);
        y.push(loss);
      }
      x.push(i + 1);
      y.push(after.data[i]);
    });
    this.curve = {x, y};
    return lines({series: [{label: t("training.loss"), x, y}], xLabel: t("training.step_number"), yLabel: t("training.loss"), points: x.length < 60,
      marks: [{x: this.answer.steps, label: ""}], height: 190, name: "loss-curve", ariaLabel: t("training.curve")});
  }

  grow({step, before, after}) {
    if (!this.chart) {
      this.curve = {x: [], y: []};
      this.chart = this.curveChart({before: {data: []}, after: {data: []}});
      this.parts.loss.replaceChildren(this.chart);
    }
    if (!this.curve.x.length) {
      this.curve.x.push(step - 1);
      this.curve.y.push(before);
    }
    this.curve.x.push(step);
    this.curve.y.push(after);
    this.chart.update({series: [{label: t("training.loss"), ...this.curve}], marks: [{x: step, label: ""}]});
  }

  showTokens() {
    const shown = this.shown();
    if (!shown) {
      this.parts.tokens.replaceChildren(note(t("training.nothing")));
      this.parts.prediction.replaceChildren(note(t("training.nothing")));
      return;
    }
    const before = shown.losses_before.data, after = shown.losses_after ? shown.losses_after.data : null;
    const most = Math.max(1e-9, ...Array.from(before).filter(Number.isFinite), ...(after ? Array.from(after).filter(Number.isFinite) : []));
    const asked = shown.rows.map((_, i) => i);
    const rows = asked.map(i => [String(i), tokenText(shown.rows[i]), shown.targets[i] ? tokenText(shown.targets[i]) : "", ...(Number.isFinite(before[i]) ?
      [pair(before[i], after ? after[i] : null, most), before[i], after ? after[i] : "", after ? change(after[i] - before[i]) : ""] : ["", "", "", ""])]);
    const figure = table(["#", t("training.token"), t("training.right"), unseen(t("training.bars")), t("training.before"), t("training.after"), t("training.change")], rows,
      {name: "token-losses", onrow: i => this.choose(asked[i])});
    fill(this.parts.tokens, note(t("training.tokens_help")), figure, shown.now && note(t("training.now")));
    if (this.place < 0 || this.place >= shown.rows.length) this.place = shown.position;
    this.tokenRows = () => mark(figure, asked.indexOf(this.place));
    this.tokenRows();
    this.showPrediction(shown);
  }

  choose(place) {
    this.place = place;
    this.context.state.set({position: place});
    this.tokenRows();
    this.showPrediction(this.shown());
  }

  showPrediction(shown) {
    const {distribution: d} = shown;
    if (!d) {
      this.parts.prediction.replaceChildren(note(t("training.numbers")));
      return;
    }
    const i = Math.min(this.place, d.ids.shape[0] - 1), k = d.ids.shape[1];
    const ids = Array.from(d.ids.data.subarray(i * k, (i + 1) * k));
    const before = d.before.data.subarray(i * k, (i + 1) * k), after = d.after.data.subarray(i * k, (i + 1) * k);
    const most = Math.max(...before, ...after);
    const rows = ids.map((id, c) => [tokenText(d.names[id]), pair(before[c], shown.now ? null : after[c], most), before[c],
      ...(shown.now ? ["", ""] : [after[c], change(after[c] - before[c])])]);
    const right = shown.targets[i];
    this.parts.prediction.replaceChildren(
      note(t(!right ? "training.prediction_free" : ["next token", "target text"].includes(shown.kind) ? "training.prediction_of" : "training.prediction_at", {token: tokenText(shown.rows[i]), right: tokenText(right || "")})),
      table([t("training.says"), unseen(t("training.bars")), t("training.before"), t("training.after"), t("training.change")], rows, {name: "prediction"}));
  }

  showParameters() {
    const {parameters, step} = this.answer;
    const most = Math.max(1e-30, ...parameters.map(p => p.relative || 0));
    const cell = x => (x === null ? "–" : x);
    const adam = parameters.some(p => p.m !== null);
    const headings = [t("training.name"), t("training.shape"), "‖w‖", ...(step ? ["‖g‖", ...(adam ? ["‖m‖", "‖√v‖", "‖m̂‖", "‖√v̂‖"] : []), "‖Δw‖", "‖Δw‖ / ‖w‖", t("training.of_largest")] : [])];
    const rows = parameters.map(p => [p.name, p.shape.join(" × "), p.weight, ...(step ? [cell(p.gradient), ...(adam ? [cell(p.m), cell(p.v), cell(p.m_hat), cell(p.v_hat)] : []),
      cell(p.update), cell(p.relative), p.relative === null ? "" : pair(null, p.relative, most, 70)] : [])]);
    const figure = table(headings, rows, {name: "parameters", sortable: true, onrow: i => this.open(parameters[i].name)});
    const scroller = figure.querySelector(".scroll");
    scroller.classList.add("tall");
    const old = this.parts.parameters.querySelector(".scroll");
    const top = old ? old.scrollTop : 0;
    this.parts.parameters.replaceChildren(note(t("training.parameters_help")), figure);
    scroller.scrollTop = top;
    if (!parameters.some(p => p.name === this.parameter)) {
      const matrices = parameters.filter(p => p.shape.length === 2 && /attention/.test(p.name));
      this.parameter = (matrices[0] || parameters[0]).name;
    }
    this.parameterRows = () => mark(figure, parameters.findIndex(p => p.name === this.parameter));
    this.parameterRows();
    figure.addEventListener("click", () => this.parameterRows());
  }

  async open(name) {
    this.parameter = name;
    this.at = [0, 0];
    this.cell = [0, 0];
    this.remember();
    this.parameterRows();
    await this.working(() => this.showParameter());
  }

  remember() {
    this.context.state.set({parameter: this.parameter, row: this.at[0] || null, column: this.at[1] || null, i: this.cell[0] || null, j: this.cell[1] || null});
  }

  async showParameter() {
    if (!this.answer.step) {
      this.parts.parameter.replaceChildren(note(t("training.first_parameter")));
      this.parts.number.replaceChildren(note(t("training.first_parameter")));
      return;
    }
    if (!(this.isOffline && this.window && this.window.name === this.parameter)) {
      this.window = await this.context.ask("practice_parameter", {name: this.parameter, row: this.at[0], column: this.at[1]});
    }
    const w = this.window, shape = (w.after || w.before).shape;
    this.cell = [Math.min(this.cell[0], shape[0] - 1), Math.min(this.cell[1], shape[1] - 1)];
    const update = w.before && {shape, data: w.after.data.map((x, i) => x - w.before.data[i])};
    const arrays = [["before", "w", w.before], ["gradient", "g", w.gradient], ["m", "m", w.m], ["v", "v", w.v], ["update", "Δw", update], ["after", "w′", w.after]];
    const range = w.before ? biggest(w.before.data, w.after.data) : biggest(w.after.data);
    this.maps = arrays.filter(each => each[2]).map(([name, symbol, array]) => {
      const map = heatMap({
        rows: shape[0], columns: shape[1], data: array.data, signed: name !== "v", limits: name === "before" || name === "after" ? [-range, range] : undefined,
        label: symbol, name: `${w.name}-${name}`, maxHeight: 250, selected: this.cell, onclick: (i, j) => this.pick(i, j),
        describe: (i, j) => [`${w.name}[${this.index(i, j)}]${w.row_names && w.row_names[i] !== undefined ? ` ${tokenText(w.row_names[i])}` : ""}`, `${symbol} = ${number(array.data[i * shape[1] + j], LONG)}`],
        ariaLabel: t("training.map", {what: t(`training.of_${name}`), name: w.name}),
      });
      return {map, element: el("div", {class: "training-map"}, el("h4", {}, el("span", {class: "symbol"}, symbol), " ", t(`training.of_${name}`)), map)};
    });
    fill(this.parts.parameter,
      el("p", {class: "mono"}, `${w.name}  (${w.shape.join(" × ")})`), this.pager(w, shape),
      el("div", {class: "training-maps"}, this.maps.map(each => each.element)), note(t("training.pick")));
    this.showNumber();
  }

  index(i, j) {
    const {shape, row: top, column: left} = this.window;
    return shape.length < 2 ? String(left + j) : `${top + i}, ${left + j}`;
  }

  // Windows of a large parameter, one beside the other
  pager(w, [rows, columns]) {
    const [all, wide] = w.shape.length < 2 ? [1, w.shape[0]] : [w.shape[0], w.shape.slice(1).reduce((a, b) => a * b, 1)];
    if (this.isOffline || (all <= rows && wide <= columns)) return null;
    const move = (k, by, n) => button(by < 0 ? "‹" : "›", () => {
      this.at[k] += by;
      this.remember();
      this.working(() => this.showParameter());
    }, {class: "small", disabled: this.at[k] + by < 0 || this.at[k] + by >= n,
      "aria-label": t(`training.${["up", "down", "left", "right_columns"][2 * k + (by > 0)]}`)});
    const line = (k, label, first, count, n) => el("span", {class: "control"}, el("span", {}, t(`training.${label}`, {first, last: first + count - 1, n: number(n)})), move(k, -w.size, n), move(k, w.size, n));
    const jump = (k, label, n) => n > w.size && field(t(label), String(this.at[k]), value => {
      this.at[k] = Math.max(0, Math.min(n - 1, Math.round(Number(value) || 0)));
      this.remember();
      this.working(() => this.showParameter());
    }, {type: "number", min: 0, max: n - 1, class: "short"});
    return row(all > rows && line(0, "rows", w.row, rows, all), jump(0, "training.from_row", all), wide > columns && line(1, "columns", w.column, columns, wide));
  }

  pick(i, j) {
    this.cell = [i, j];
    this.remember();
    this.maps.forEach(each => each.map.select(i, j));
    this.showNumber();
    this.context.announce(t("training.picked", {name: `${this.window.name}[${this.index(i, j)}]`, before: number(this.value("before"), LONG), after: number(this.value("after"), LONG)}));
  }

  value(name) {
    const array = this.window[name];
    return array ? array.data[this.cell[0] * array.shape[1] + this.cell[1]] : null;
  }

  // The optimizer's formula with the numbers in it, computed here in float64 from the float32 numbers that the step began with
  showNumber() {
    const w = this.window;
    const head = el("p", {class: "mono"}, `${w.name}[${this.index(...this.cell)}]`,
      w.row_names && w.row_names[this.cell[0]] !== undefined ? `  ${tokenText(w.row_names[this.cell[0]])}` : "");
    if (this.value("before") === null || this.value("gradient") === null) {
      this.parts.number.replaceChildren(head, note(t(w.gradient ? "training.forgotten" : "training.no_gradient")));
      return;
    }
    const {computed, lines: steps} = w.optimizer === "SGD" ? descent(this.value("before"), this.value("gradient"), w) :
      adam(this.value("before"), this.value("gradient"), this.value("m_before"), this.value("v_before"), w);
    const after = this.value("after");
    const figure = table([t("training.symbol"), t("training.formula"), t("training.with_numbers"), t("training.result")],
      steps.map(([name, formula, numbers, result]) => [el("span", {class: "symbol"}, name), el("span", {class: "formula"}, formula),
        el("span", {class: "formula"}, numbers), el("output", {class: "mono", dataset: {symbol: name, value: result}}, f(result))]),
      {name: "one-number"});
    this.parts.number.replaceChildren(head, note(t("training.formula_of", {optimizer: w.optimizer, t: w.t})), figure,
      el("p", {class: "note"}, t("training.compare", {value: f(after), difference: number(Math.abs(after - computed), 3)}),
        el("output", {class: "unseen", dataset: {symbol: "after", value: after}}, f(after))));
  }
}

// Six digits without zeros at the end
function f(x) {
  if (!Number.isFinite(x)) return number(x);
  const size = Math.abs(x);
  const text = size && size < 1e-4 ? x.toExponential(LONG - 1).replace(/\.?0+e/, "e") : String(Number(x.toPrecision(LONG)));
  return text.replace(/-/g, "−");
}
const signed = x => (x < 0 ? `(${f(x)})` : f(x));

// w − η g, with the gradient scaled and penalized
function descent(w, g, o) {
  const scaled = o.grad_scale * g + o.l2 * w, after = w - o.lr * scaled;
  return {computed: after, lines: [
    ["g", "c g + λ w", `${f(o.grad_scale)} · ${signed(g)} + ${f(o.l2)} · ${signed(w)}`, scaled],
    ["w′", "w − η g", `${f(w)} − ${f(o.lr)} · ${signed(scaled)}`, after],
  ]};
}

function adam(w, g, m0, v0, o) {
  const [b1, b2] = o.betas;
  const scaled = o.grad_scale * g + o.l2 * w;
  const m = b1 * m0 + (1 - b1) * scaled, v = b2 * v0 + (1 - b2) * scaled ** 2;
  const mHat = m / (1 - b1 ** o.t), vHat = v / (1 - b2 ** o.t);
  const step = (o.lr * mHat) / (Math.sqrt(vHat) + o.eps), decay = o.lr * o.decay * w, after = w - decay - step;
  return {computed: after, lines: [
    ["g", o.l2 ? "c g + λ w" : "c g", `${f(o.grad_scale)} · ${signed(g)}${o.l2 ? ` + ${f(o.l2)} · ${signed(w)}` : ""}`, scaled],
    ["m", "β₁ m + (1 − β₁) g", `${b1} · ${signed(m0)} + ${f(1 - b1)} · ${signed(scaled)}`, m],
    ["v", "β₂ v + (1 − β₂) g²", `${b2} · ${f(v0)} + ${f(1 - b2)} · ${signed(scaled)}²`, v],
    ["m̂", "m / (1 − β₁ᵗ)", `${f(m)} / (1 − ${b1}^${o.t})`, mHat],
    ["v̂", "v / (1 − β₂ᵗ)", `${f(v)} / (1 − ${b2}^${o.t})`, vHat],
    ["Δw", o.decay ? "− η λ w − η m̂ / (√v̂ + ε)" : "− η m̂ / (√v̂ + ε)",
      `${o.decay ? `− ${f(o.lr)} · ${f(o.decay)} · ${signed(w)} ` : ""}− ${f(o.lr)} · ${signed(mHat)} / (√${f(vHat)} + ${f(o.eps)})`, -decay - step],
    ["w′", "w + Δw", `${f(w)} + ${signed(-decay - step)}`, after],
  ]};
}

function biggest(...arrays) {
  let most = 0;
  for (const array of arrays) for (const x of array) most = Math.max(most, Math.abs(x));
  return most || 1;
}

function figure(label, value, name, kind = null) {
  return el("div", {class: `figure ${kind || ""}`.trim()}, el("span", {class: "figure-label"}, label),
    el("output", {class: "figure-value", title: String(value), dataset: {name, value}}, number(value)));
}

function change(x) {
  return el("span", {class: `mono ${x < 0 ? "falls" : x > 0 ? "rises" : ""}`.trim()}, `${x > 0 ? "+" : ""}${number(x)}`);
}

// Two bars, before (pale) above after
function pair(before, after, most, width = 110) {
  const bar = (value, y, height, kind) => value !== null && Number.isFinite(value) &&
    svg("rect", {class: kind, x: 0, y, width: Math.max(1, (width * value) / most), height, rx: 1.5});
  return svg("svg", {class: "pair", width, height: 16, viewBox: `0 0 ${width} 16`, "aria-hidden": "true"},
    [after === null ? bar(before, 3, 10, "pair-before") : bar(before, 1, 6, "pair-before"), after !== null && (before === null ? bar(after, 4, 8, "pair-after") : bar(after, 8, 7, "pair-after"))]);
}

function unseen(text) {
  return el("span", {class: "unseen"}, text);
}

function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

function mark(figure, index) {
  for (const line of figure.querySelectorAll("tr[data-row]")) {
    if (Number(line.dataset.row) === index) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}
