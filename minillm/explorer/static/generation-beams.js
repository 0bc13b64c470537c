// Beam search as the library does it, drawn as a tree: a column is a step, a node a candidate.

import {el, svg, tokenText, number, table} from "./dom.js";
import {slider, checkbox, panel, button, row, note} from "./controls.js";
import {saveable, svgText, svgPicture} from "./save.js";
import {roving} from "./roving.js";
import {t} from "./messages.js";

const COLUMN = 118, LINE = 29, NODE = 100, LEFT = 66, TOP = 22;

// -> {element, update(ids, start)}: ids of the tokens so far;  adopt(ids): take a beam's tokens
export function beams(context, {adopt, isSmall}) {
  const settings = {n_beams: context.state.within("beams", 3, 2, 8), n: context.state.within("beam_n", 10, 2, 24),
    length_penalty: Math.max(-1, Math.min(3, context.state.get("penalty", 1))), early_stopping: context.state.get("early", "0") === "1"};
  let ids = null, asked = null, working = null, waiting = 0;
  const place = el("div", {class: "gen-beam-place"});
  const redo = () => {
    context.state.set({beams: settings.n_beams, beam_n: settings.n, penalty: settings.length_penalty, early: settings.early_stopping ? "1" : null});
    clearTimeout(waiting);
    waiting = setTimeout(() => search(true), 150);
  };
  const change = name => value => {
    settings[name] = value;
    redo();
  };
  const element = panel(t("generation.beams"), note(t("generation.beams_help")),
    row(slider(t("generation.n_beams"), {min: 2, max: 8, value: settings.n_beams}, change("n_beams")),
      slider(t("generation.beam_tokens"), {min: 2, max: 24, value: settings.n}, change("n")),
      slider(t("generation.length_penalty"), {min: -1, max: 3, step: 0.25, value: settings.length_penalty, show: x => number(x, 2)}, change("length_penalty")),
      checkbox(t("generation.early_stopping"), settings.early_stopping, change("early_stopping"))), place);

  async function search(wanted) {
    if (!ids) return;
    if (!isSmall && !wanted) {
      place.replaceChildren(row(button(t("generation.search"), () => search(true))));
      return;
    }
    if (working) working.abort();
    const mine = (working = new AbortController());
    context.signal.addEventListener("abort", () => mine.abort(), {once: true});
    const progress = isSmall ? null : context.progress(t("generation.beams"));
    if (progress) progress.signal.addEventListener("abort", () => mine.abort(), {once: true});
    try {
      const answer = await context.ask("generation_beams", {...(ids.own ? {ids: ids.all} : {}), ...settings},
        {signal: mine.signal, report: (done, total) => progress && progress.update(done, total)});
      if (!mine.signal.aborted) draw(answer);
    } catch (error) {
      if (mine.signal.aborted) return;
      place.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
    } finally {
      if (progress) progress.done();
    }
  }

  function draw(answer) {
    const {steps, names, sequences} = answer;
    const count = Math.max(...steps.map(step => step.scores.data.length));
    const width = LEFT + steps.length * COLUMN + 10, height = TOP + count * LINE + 4;
    const x = step => LEFT + step * COLUMN, y = rank => TOP + rank * LINE + LINE / 2;
    const best = new Set(), prefixes = [];
    const wanted = sequences.length ? Array.from(sequences[0].ids.data).join() : null;
    let previous = null;
    const drawn = steps.map((step, s) => {
      const kept = Array.from(step.kept.data), accepted = new Set(step.accepted.data);
      const lines = Array.from(step.tokens.data, (token, i) => {
        const parent = step.beams.data[i];
        const prefix = [...(previous ? prefixes[previous.kept[parent]] : []), token];
        const from = previous ? y(previous.kept[parent]) : y(0);
        return {token, i, prefix, from, score: step.scores.data[i], beam: kept.indexOf(i), finished: accepted.has(i), ended: Boolean(step.ends.data[i])};
      });
      prefixes.splice(0, prefixes.length, ...lines.map(each => each.prefix));
      previous = {kept};
      return lines;
    });
    drawn.forEach((lines, s) => lines.forEach(each => {
      if (wanted !== null && (`${wanted},`).startsWith(`${each.prefix.join()},`)) best.add(`${s}.${each.i}`);
    }));
    const edges = drawn.flatMap((lines, s) => lines.map(each => svg("path", {
      class: `gen-edge ${stateOf(each)}${best.has(`${s}.${each.i}`) ? " best" : ""}`,
      d: `M${s ? x(s - 1) + NODE : LEFT - 26} ${each.from}C${x(s) - 8} ${each.from} ${x(s) - 10} ${y(each.i)} ${x(s)} ${y(each.i)}`})));
    const nodes = drawn.flatMap((lines, s) => lines.map(each => node(each, s)));

    function stateOf(each) {
      return each.finished ? "finished" : each.beam >= 0 && !each.ended ? "kept" : "dropped";
    }
    function node(each, s) {
      const kind = stateOf(each), name = tokenText(names[each.token] ?? `#${each.token}`);
      const letters = [...name], label = letters.length > 8 ? `${letters.slice(0, 7).join("")}…` : name;
      const said = t(`generation.beam_${kind}`, {token: name, score: number(each.score, 4), step: s + 1, rank: each.i + 1});
      const group = svg("g", {class: `gen-node ${kind}${best.has(`${s}.${each.i}`) ? " best" : ""}`, tabindex: 0, role: "button", "aria-label": said,
        "data-score": each.score, "data-token": each.token, "data-step": s, "data-rank": each.i},
        svg("title", {}, said),
        svg("rect", {x: x(s), y: y(each.i) - 12, width: NODE, height: 24, rx: 5}),
        svg("text", {class: "gen-node-name", x: x(s) + 6, y: y(each.i), "dominant-baseline": "central"}, label),
        svg("text", {class: "gen-node-score", x: x(s) + NODE - 5, y: y(each.i), "text-anchor": "end", "dominant-baseline": "central"}, each.score.toFixed(1).replace("-", "−")));
      const choose = () => adopt(each.prefix);
      group.addEventListener("click", choose);
      group.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose();
      });
      return group;
    }
    const picture = svg("svg", {class: "chart gen-tree", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": t("generation.beams")},
      steps.map((_, s) => svg("text", {class: "tick", x: x(s) + NODE / 2, y: 12, "text-anchor": "middle"}, t("generation.token_n", {n: s + 1}))),
      edges, svg("text", {class: "gen-root", x: 4, y: y(0), "dominant-baseline": "central"}, t("generation.text")), nodes);
    roving(picture, ".gen-node", (from, key, all) => {
      const step = Number(from.dataset.step), rank = Number(from.dataset.rank);
      const [ds, dr] = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]}[key];
      return all.find(each => Number(each.dataset.step) === step + ds && Number(each.dataset.rank) === rank + dr);
    })();
    const scroll = el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": t("generation.beam_tree")}, picture);
    const results = table([t("generation.rank"), t("generation.score"), t("generation.sum"), t("generation.tokens"), t("generation.sequence")],
      sequences.map((each, i) => {
        const n = each.ids.data.length;
        return [i + 1, each.score, each.score * n ** settings.length_penalty, n, el("code", {}, tokenText(each.text))];
      }), {name: "beams", caption: t("generation.beam_results"), digits: 5});
    place.replaceChildren(
      el("div", {class: "legend gen-legend"}, ["kept", "finished", "dropped"].map(kind => el("span", {class: "legend-item"}, el("span", {class: `gen-key ${kind}`}), t(`generation.${kind}_word`)))),
      saveable(scroll, {name: "beam-tree", svg: () => svgText(picture), png: () => svgPicture(picture),
        json: () => ({settings, steps: drawn.map(lines => lines.map(each => ({token: each.token, text: names[each.token], ids: each.prefix, score: each.score, state: stateOf(each)}))),
          sequences: sequences.map(each => ({score: each.score, ids: Array.from(each.ids.data)}))}),
        rows: () => [["step", "rank", "state", "score", "text"], ...drawn.flatMap((lines, s) => lines.map(each => [s + 1, each.i + 1, stateOf(each), each.score, each.prefix.map(id => names[id] ?? "").join("")]))]}),
      results);
  }

  return {
    element,
    // ids: {all: the tokens so far, own: whether they aren't just the text's}
    update(changed) {
      const key = changed.all.join();
      if (key === asked) return;
      asked = key;
      ids = changed;
      search(false);
    },
  };
}
