// The frame of the page: models, texts, views, side by side; its state is the address.

import {el, tokenText, number, percent, keepingFocus} from "./dom.js";
import {ask as askServer, isOffline, offlineFacts} from "./api.js";
import {t, useMessages, setLanguage, getLanguage} from "./messages.js";
import {button, setPressed, select} from "./controls.js";
import {announce, liveRegion} from "./announce.js";
import {themeChanged} from "./color.js";
import * as state from "./state.js";

const VIEWS = [
  ["graph", () => import("./view-graph.js")],
  ["training", () => import("./view-training.js")],
  ["checkpoints", () => import("./view-checkpoints.js")],
  ["attention", () => import("./view-attention.js")],
  ["lens", () => import("./view-lens.js")],
  ["patching", () => import("./view-patching.js")],
  ["attribution", () => import("./view-attribution.js")],
  ["tokenizer", () => import("./view-tokenizer.js")],
  ["generation", () => import("./view-generation.js")],
];
const IDS = VIEWS.map(([id]) => id);
const THEMES = ["auto", "light", "dark"];
const WAIT = 400; // milliseconds without a key before a new text is read

const app = document.getElementById("app");
let models = [];
let firstText = "";
let firstLanguage = "en";
let sides = [];
let shown = IDS; // the views that this page has

const isCompared = () => state.get("compare") === "1";
const viewId = () => (shown.includes(state.get("view")) ? state.get("view") : shown[0]);
const suffix = index => (index ? "2" : "");

async function start() {
  const [messages, known] = await Promise.all([loadMessages(), isOffline ? offlineFacts : askServer("subjects")]);
  useMessages(messages);
  models = known.subjects;
  firstText = known.text;
  if (known.views) shown = known.views;
  firstLanguage = known.lang ?? navigator.language;
  if (isOffline && known.compare && !state.get("compare")) state.set({compare: "1"});
  build();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint());
  addEventListener("hashchange", () => build());
  document.addEventListener("keydown", shortcuts);
}

async function loadMessages() {
  const contained = document.getElementById("messages");
  if (contained) return JSON.parse(contained.textContent);
  return (await fetch("static/messages.json")).json();
}

// ---- the frame

function build() {
  state.nowDrawn();
  setLanguage(state.get("lang", firstLanguage).startsWith("zh") ? "zh" : "en");
  setTheme(state.get("theme", "auto"));
  sides.forEach(side => side.leave());
  const main = el("main", {id: "main", tabindex: -1, class: isCompared() ? "two" : "one"});
  sides = (isCompared() ? [0, 1] : [0]).map(index => new Side(index));
  main.append(...sides.map(side => side.element));
  const frame = [
    el("button", {type: "button", class: "skip", onclick: () => main.focus()}, t("shell.skip")),
    header(), tabs(), main, liveRegion];
  keepingFocus(app, () => app.replaceChildren(...frame));
  app.removeAttribute("aria-busy");
  document.title = `${t(`${viewId()}.title`)} · minillm explorer`;
  sides.forEach(side => side.render());
}

function header() {
  const language = getLanguage() === "zh" ? "en" : "zh";
  return el("header", {class: "top"},
    el("h1", {}, el("span", {class: "brand"}, "minillm"), " ", el("span", {class: "sub"}, t("shell.title"))),
    isOffline && el("span", {class: "badge"}, t("shell.static_page")),
    el("div", {class: "tools"},
      (!isOffline || offlineFacts.compare) && button(t("shell.compare"), toggleCompare, {pressed: isCompared(), title: t("shell.compare_help")}),
      button(language === "zh" ? "中文" : "English", () => change({lang: language}), {lang: language}),
      button(t(`shell.theme_${state.get("theme", "auto")}`), nextTheme, {title: t("shell.theme")}),
      button("?", help, {title: t("shell.keys"), "aria-label": t("shell.keys")})));
}

function tabs() {
  const strip = el("div", {class: "tabs", role: "tablist", "aria-label": t("shell.views")}, shown.map((id, i) => {
    const isHere = id === viewId();
    return el("button", {type: "button", role: "tab", id: `tab-${id}`, "aria-selected": String(isHere), tabindex: isHere ? 0 : -1,
      "aria-controls": "main", title: t(`${id}.help`), onclick: () => open(id), dataset: {view: id}},
      el("kbd", {"aria-hidden": "true"}, String(i + 1)), t(`${id}.title`));
  }));
  strip.addEventListener("keydown", event => {
    const moves = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
    if (!(event.key in moves)) return;
    const at = (shown.indexOf(viewId()) + moves[event.key] + shown.length) % shown.length;
    event.preventDefault();
    open(shown[at]);
    document.getElementById(`tab-${shown[at]}`).focus();
  });
  requestAnimationFrame(() => {
    const here = strip.querySelector("[aria-selected=true]");
    if (here) strip.scrollLeft = here.offsetLeft - strip.clientWidth / 2 + here.offsetWidth / 2;
  });
  return el("nav", {"aria-label": t("shell.views")}, strip);
}

function open(id, changes = {}) {
  state.set({view: id, ...changes}, {push: true});
  build();
}

function change(changes) {
  state.set(changes, {push: true});
  build();
}

function toggleCompare() {
  if (isCompared()) change({compare: null});
  else change({compare: "1", text2: state.get("text2") || state.get("text"), model2: state.get("model2") || (models.length > 1 ? models[1].key : null)});
}

function setTheme(name) {
  document.documentElement.dataset.theme = THEMES.includes(name) ? name : "auto";
  themeChanged();
}

function nextTheme() {
  const name = THEMES[(THEMES.indexOf(state.get("theme", "auto")) + 1) % THEMES.length];
  change({theme: name === "auto" ? null : name});
}

function repaint() {
  themeChanged();
  build();
}

function shortcuts(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, textarea, select, dialog, [role=application]")) return;
  const index = "123456789".indexOf(event.key);
  if (index >= 0 && index < shown.length) open(shown[index]);
  else if (event.key === "/") {
    event.preventDefault();
    document.querySelector("textarea").focus();
  } else if (event.key === "?") help();
}

function help() {
  const rows = ["views", "text", "move", "choose", "zoom", "tabs", "escape"].map(name =>
    el("tr", {}, el("th", {scope: "row"}, el("kbd", {}, t(`shell.key_${name}`))), el("td", {}, t(`shell.key_${name}_does`))));
  const dialog = el("dialog", {class: "help", "aria-label": t("shell.keys")},
    el("h2", {}, t("shell.keys")), el("table", {}, el("tbody", {}, rows)), el("p", {}, t("shell.about")),
    button(t("shell.close"), () => dialog.close()));
  dialog.addEventListener("close", () => dialog.remove());
  app.append(dialog);
  dialog.showModal();
}

// ---- one side: a model, a text, and the view of them

class Side {
  constructor(index) {
    this.index = index;
    this.leaving = new AbortController();
    this.strip = el("div", {class: "strip", role: "group", "aria-label": t("shell.tokens")});
    this.answers = el("div", {class: "answer-line", hidden: true, role: "group", "aria-label": t("shell.answer")});
    this.root = el("div", {class: "view"});
    this.status = el("div", {class: "status"});
    this.head = el("div", {class: "side-head"});
    this.element = el("section", {class: "side", "aria-label": isCompared() ? t("shell.side", {n: index + 1}) : t(`${viewId()}.title`)},
      this.head, this.status, this.root);
    this.fillHead();
  }

  get model() {
    const key = state.get(`model${suffix(this.index)}`);
    return models.some(each => each.key === key) ? key : models[0].key;
  }

  get info() {
    return models.find(each => each.key === this.model);
  }

  get text() {
    if (isOffline) return this.index ? offlineFacts.compare || firstText : firstText;
    const own = state.get(`text${suffix(this.index)}`);
    return own !== null ? own : firstText;
  }

  fillHead() {
    const area = el("textarea", {rows: 1, "aria-label": t("shell.text"), spellcheck: "false", readonly: isOffline, value: this.text});
    const fit = () => {
      area.style.height = "auto";
      area.style.height = `${Math.min(160, area.scrollHeight + 2)}px`;
    };
    let waiting = 0;
    area.addEventListener("input", () => {
      fit();
      clearTimeout(waiting);
      waiting = setTimeout(() => this.setText(area.value), WAIT);
    });
    requestAnimationFrame(fit);
    this.area = area;
    const info = this.info;
    const choice = select(t("shell.model"), models.map(each => ({value: each.key, label: each.key === "trained" ? t("shell.trained") : each.name})),
      this.model, key => change({[`model${suffix(this.index)}`]: key}));
    this.head.replaceChildren(
      el("div", {class: "model-line"}, choice, el("span", {class: "facts"},
        [info.architecture, t("shell.size", {layers: info.n_layers, heads: info.n_heads, d: info.d_model, n: number(info.n_parameters)})].join(" · "))),
      el("div", {class: "text-line"}, area), this.strip, this.answers);
  }

  setText(text) {
    this.area.value = text;
    state.set({[`text${suffix(this.index)}`]: text}, {push: true});
    sides.forEach(side => side.render());
  }

  leave() {
    this.leaving.abort();
    this.status.replaceChildren();
  }

  async render() {
    this.leave();
    const {signal} = (this.leaving = new AbortController());
    this.showTokens(signal);
    this.root.style.minHeight = `${this.root.offsetHeight}px`;
    const root = el("div", {class: `view-root view-${viewId()}`, "aria-busy": "true"});
    this.root.replaceChildren(el("h2", {class: "unseen"}, t(`${viewId()}.title`)), el("p", {class: "lead"}, t(`${viewId()}.help`)), root);
    try {
      const module = await VIEWS[IDS.indexOf(viewId())][1]();
      if (!signal.aborted) await module.default.render(root, this.context(signal));
    } catch (error) {
      if (!signal.aborted && error.name !== "AbortError") this.fail(root, error);
    }
    root.removeAttribute("aria-busy");
    if (!signal.aborted) {
      this.root.style.minHeight = "";
      this.root.dataset.ready = viewId();
      this.showAnswer(signal);
    }
  }

  // What the model says to the text, above every view; a click continues the text with it.
  async showAnswer(signal) {
    const asked = `${this.model} ${this.text}`;
    if (this.answered === asked && this.model !== "trained") return;
    try {
      const {kind, token, position, top} = await askServer("answer", {model: this.model, text: this.text}, {signal});
      if (signal.aborted) return;
      this.answered = asked;
      this.answers.hidden = !top.length;
      const where = token === null ? "" : `${position} ${tokenText(token)}`;
      keepingFocus(this.answers, () => this.answers.replaceChildren(el("span", {class: "facts"}, t(`shell.answer_${kind}`, {where})), ...top.map(each => {
        const label = [el("span", {class: "mono"}, kind === "label" ? each.name : tokenText(each.name)), " ", el("span", {class: "facts"}, percent(each.p))];
        return each.then === null || isOffline ? el("span", {class: "token"}, label)
          : el("button", {type: "button", class: "token", title: t("shell.continue", {token: tokenText(each.name)}), onclick: () => this.setText(each.then)}, label);
      })));
    } catch (error) {
      if (!signal.aborted) this.answers.hidden = true;  // the view has said why
    }
  }

  fail(root, error) {
    if (!error.offline) console.info(error);
    this.complain(root, error.offline ? t("shell.offline") : error.message);
  }

  // The frame and the view may have the same complaint: it is made once.
  complain(place, said) {
    const known = [...this.element.querySelectorAll(".error")].some(each => each.textContent === said);
    if (!known) place.append(el("p", {class: "error", role: "alert"}, said));
  }

  async showTokens(signal) {
    delete this.root.dataset.ready;
    try {
      const {tokens, ids} = await askServer("tokens", {model: this.model, text: this.text}, {signal});
      if (signal.aborted) return;
      this.strip.replaceChildren(...tokens.slice(0, 400).map((token, i) =>
        el("span", {class: "token", title: `${i}: id ${ids.data[i]}`}, tokenText(token))),
        el("span", {class: "facts"}, t("shell.n_tokens", {n: number(tokens.length)})));
    } catch (error) {
      if (signal.aborted) return;
      this.strip.replaceChildren();
      this.complain(this.strip, error.message);
    }
  }

  context(signal) {
    const mine = {model: this.model, text: this.text};
    const other = sides[1 - this.index];
    const prefix = key => `${viewId()}.${key}${this.index ? ".2" : ""}`;
    return {
      side: this.index, signal, announce, info: this.info, ...mine,
      otherText: other ? other.text : "", otherModel: other ? other.model : null,
      ask: (name, fields = {}, options = {}) => askServer(name, {...mine, ...fields}, {signal, ...options}),
      state: {
        get: (key, fallback) => state.get(prefix(key), fallback),
        within: (key, fallback, least, most) => Math.max(least, Math.min(most, Math.trunc(state.get(prefix(key), fallback)))),
        set: changes => {
          if (signal.aborted || !state.isDrawn()) return; // the view has been left: its answer came late
          state.set(Object.fromEntries(Object.entries(changes).map(([key, value]) => [prefix(key), value])));
        },
      },
      setText: text => this.setText(text),
      goTo: (id, changes = {}) => open(id, Object.fromEntries(Object.entries(changes).map(
        ([key, value]) => [`${id}.${key}${this.index ? ".2" : ""}`, value]))),
      progress: label => this.progress(label, signal),
      refreshModels: () => refreshModels(),
    };
  }

  // A progress bar with a button that cancels. Pass its signal to `ask`.
  progress(label, signal) {
    const controller = new AbortController();
    const bar = el("progress", {max: 1, "aria-label": label});
    const numbers = el("span", {class: "facts"});
    const line = el("div", {class: "progress"}, el("span", {}, label), bar, numbers,
      button(t("shell.cancel"), () => controller.abort(), {}));
    signal.addEventListener("abort", () => controller.abort(), {once: true});
    controller.signal.addEventListener("abort", () => line.remove(), {once: true});
    this.status.append(line);
    return {
      signal: controller.signal,
      update: (done, total) => {
        bar.max = total || 1;
        bar.value = done;
        numbers.textContent = `${number(done)} / ${number(total)}`;
      },
      done: () => line.remove(),
    };
  }
}

async function refreshModels() {
  if (isOffline) return;
  models = (await askServer("subjects")).subjects;
  sides.forEach(side => side.fillHead());
  sides.forEach(side => {
    side.showTokens(side.leaving.signal);
    side.showAnswer(side.leaving.signal);
  });
}

start().catch(error => {
  app.replaceChildren(el("p", {class: "error", role: "alert"}, String(error.message || error)));
});
