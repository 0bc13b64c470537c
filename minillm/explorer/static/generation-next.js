// The distribution of the next token, and the filters that shape it: every move of a slider is computed here.

import {el, svg, tokenText, number, percent, table, textWidth, fitted} from "./dom.js";
import {slider, button, note} from "./controls.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {FILTERS, apply, softmax, entropy, draw, highest, likeliestRemoved} from "./filters.js";
import {roving} from "./roving.js";
import {t} from "./messages.js";

const SHOWN = 40, LINE = 19;

export const nameOf = (names, id) => (id in names ? tokenText(names[id]) : `#${id}`);

// The filters' controls. values: {name: number}, changed in place; onchange()
export function filterControls(values, onchange) {
  const box = el("div", {class: "gen-filters"});
  function fillBox() {
    box.replaceChildren(...FILTERS.map(({name, off, min, max, step}) => {
      const control = slider(t(`generation.${name}`), {min, max, step, value: values[name] ?? off,
        show: value => (value === off ? t("generation.off") : number(value, 3))}, value => {
        values[name] = value;
        control.classList.toggle("active", value !== off);
        onchange();
      });
      control.title = t(`generation.${name}_help`);
      control.classList.toggle("active", (values[name] ?? off) !== off);
      control.dataset.filter = name;
      return control;
    }), button(t("generation.all_off"), () => {
      FILTERS.forEach(({name, off}) => { values[name] = off; });
      fillBox();
      onchange();
    }));
  }
  fillBox();
  return box;
}

// -> {element, update(state), result}: state has logits, ids, names, values, u (the next draw), onchoose(id),
// wantNames(ids), truth (an id to mark) or null
export function distribution(title) {
  const picture = svg("svg", {class: "chart gen-bars", role: "group", "aria-label": title});
  const box = el("div", {class: "chart-box"}, picture);
  const facts = el("p", {class: "note gen-facts"});
  const steps = el("div", {class: "gen-steps"});
  const settle = roving(picture, ".bar-line.choosable");
  let state = null, found = null, width = 0, items = [];

  function compute() {
    const raw = softmax(state.logits);
    const {scores, steps: taken} = apply(state.logits, state.ids, state.values);
    const p = softmax(scores), kept = scores.reduce((n, s) => n + (s > -Infinity), 0);
    const first = highest(scores, SHOWN).filter(i => scores[i] > -Infinity);
    const others = first.length < SHOWN ? highest(state.logits, 2 * SHOWN).filter(i => scores[i] === -Infinity && state.logits[i] > -Infinity) : [];
    items = [...first, ...others.slice(0, SHOWN - first.length)].map(id => ({id, p: kept ? p[id] : 0, raw: raw[id],
      removedBy: (taken.find(step => step.after[id] === -Infinity && step.before[id] > -Infinity) || {name: null}).name}));
    const sum = (a, b) => a + b;
    found = {p, raw, scores, steps: taken, kept,
      next: kept && state.u !== null ? draw(scores, state.u) : -1,
      rest: {count: state.logits.length - items.length, p: Math.max(0, 1 - items.map(each => each.p).reduce(sum, 0)),
        raw: Math.max(0, 1 - items.map(each => each.raw).reduce(sum, 0))}};
    if (!kept) found.rest.p = 0;
    const unknown = items.map(each => each.id).filter(id => !(id in state.names));
    if (unknown.length) state.wantNames(unknown);
  }

  function paint() {
    width = Math.max(240, Math.floor(box.clientWidth || 480));
    const wide = width > 430, right = wide ? 186 : 66;
    const names = items.map(each => nameOf(state.names, each.id));
    const left = Math.min(width * 0.36, 16 + Math.max(30, ...names.map(textWidth)));
    const most = Math.max(1e-9, ...items.map(each => Math.max(each.p, each.raw)));
    const x = value => (value / most) * (width - left - right);
    const lines = items.map((item, i) => {
      const y = i * LINE, isNext = item.id === found.next;
      const label = fitted(names[i], left - 15);
      const said = item.removedBy ? t("generation.bar_removed", {token: names[i], raw: percent(item.raw, 2), filter: t(`generation.${item.removedBy}`)})
        : t("generation.bar", {token: names[i], p: percent(item.p, 2), raw: percent(item.raw, 2)});
      const line = svg("g", {class: `bar-line choosable${item.removedBy ? " removed" : ""}${isNext ? " next" : ""}${item.id === state.truth ? " truth" : ""}`,
        tabindex: 0, role: "button", "aria-label": isNext ? `${said}. ${t("generation.would_be_drawn")}` : said, "data-token": item.id, "data-p": item.p},
        svg("title", {}, said),
        svg("rect", {class: "bar-back", x: 0, y, width, height: LINE}),
        svg("text", {class: "bar-label", x: left - 8, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"}, label),
        svg("rect", {class: "bar", x: left, y: y + 3, width: Math.max(x(item.p), item.removedBy ? 0 : 1), height: LINE - 7, rx: 2}),
        svg("rect", {class: "bar-raw", x: left, y: y + 2, width: Math.max(1, x(item.raw)), height: LINE - 5, rx: 2}),
        svg("text", {class: "bar-value", x: width - right + 60, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"},
          item.removedBy ? "✕" : percent(item.p)),
        wide && svg("text", {class: "tick", x: width - 8, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"},
          item.removedBy ? t(`generation.${item.removedBy}`) : isNext ? "◀ u" : ""));
      line.addEventListener("click", () => state.onchoose(item.id));
      line.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        state.onchoose(item.id);
      });
      return line;
    });
    const y = items.length * LINE;
    const rest = found.rest.count > 0 && svg("g", {class: "bar-line rest"},
      svg("text", {class: "bar-label", x: left - 8, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"}, "…"),
      svg("rect", {class: "bar", x: left, y: y + 3, width: Math.max(1, Math.min(x(found.rest.p), width - left - right)), height: LINE - 7, rx: 2}),
      svg("rect", {class: "bar-raw", x: left, y: y + 2, width: Math.max(1, Math.min(x(found.rest.raw), width - left - right)), height: LINE - 5, rx: 2}),
      svg("text", {class: "bar-value", x: width - right + 60, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"}, percent(found.rest.p)),
      wide && svg("text", {class: "tick", x: width - 8, y: y + LINE / 2, "text-anchor": "end", "dominant-baseline": "central"}, t("generation.others", {n: number(found.rest.count)})));
    const height = y + (rest ? LINE : 0);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    const focused = picture.contains(document.activeElement) ? [...picture.children].indexOf(document.activeElement) : -1;
    picture.replaceChildren(...lines, ...(rest ? [rest] : []));
    settle(picture.children[focused]);
    if (focused >= 0 && picture.children[focused] && picture.children[focused].tabIndex >= 0) picture.children[focused].focus();
  }

  function tell() {
    facts.textContent = found.kept ? t(state.truth === undefined ? "generation.facts" : "generation.facts_masked", {kept: number(found.kept), all: number(state.logits.length),
      before: number(entropy(found.raw), 3), after: number(entropy(found.p), 3)}) : t("generation.nothing_left");
    steps.replaceChildren(found.steps.length ? table(
      [t("generation.step"), t("generation.kept"), t("generation.removed"), t("generation.mass"), t("generation.likeliest_removed")],
      found.steps.map(step => [`${t(`generation.${step.name}`)} ${number(step.value, 3)}`, step.kept, step.removed,
        percent(step.mass, 2), likeliestRemoved(step, 4).map(id => nameOf(state.names, id)).join("  ") || "–"]),
      {name: "filters", caption: t("generation.steps")}) : note(t("generation.no_filter")));
  }

  const figure = saveable(box, {name: "next-token", svg: () => svgText(picture), png: () => svgPicture(picture),
    json: () => ({filters: {...state.values}, kept: found.kept, next: found.next,
      tokens: items.map(({id, p, raw, removedBy}) => ({id, token: state.names[id] ?? null, p, raw, removed_by: removedBy})), rest: found.rest}),
    rows: () => [["id", "token", "p", "p before", "removed by"], ...items.map(each => [each.id, state.names[each.id] ?? "", each.p, each.raw, each.removedBy || ""])]});
  new ResizeObserver(() => {
    if (state && Math.max(240, Math.floor(box.clientWidth)) !== width) paint();
  }).observe(box);
  return {
    element: figure, facts, steps,
    get result() {
      return found;
    },
    update(changes) {
      state = {...state, ...changes};
      compute();
      paint();
      tell();
    },
    named(names) {
      state.names = names;
      paint();
      tell();
    },
  };
}
