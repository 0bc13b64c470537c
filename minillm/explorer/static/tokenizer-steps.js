// The steps of a tokenizer on one word, drawn: merges as boxes that grow together, WordPiece's attempts,
// SentencePiece's lattice. The steps come from the library; here they are only followed.

import {svg, tokenText, number} from "./dom.js";
import {t} from "./messages.js";

export const NONE = -1;
const hex = byte => byte.toString(16).toUpperCase().padStart(2, "0");
export const hexOf = bytes => bytes.map(hex).join(" ");

// What a token is called in a box: its text, or its bytes if they aren't whole characters
export function label(token) {
  if (!token) return "?";
  if (token.added || token.special || token.token === null) return token.token ?? "∅";
  if (!token.bytes.length) return tokenText(token.text);
  try {
    return tokenText(new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(Uint8Array.from(token.bytes)));
  } catch {
    return hexOf(token.bytes);
  }
}

// ---- merges

// data: {symbols (n, 3), ranks (n - 1,), steps (m, 6)} of the library's Merging
export class Merges {
  constructor({symbols, ranks, steps}) {
    this.n = symbols.shape[0];
    this.count = steps.shape[0];
    this.symbols = Array.from({length: this.n}, (_, i) => symbols.data[3 * i]);
    this.first = Array.from(ranks.data);
    this.steps = Array.from({length: this.count}, (_, i) => {
      const [place, next, merged, rank, left, right] = steps.data.subarray(6 * i, 6 * i + 6);
      return {place, next, merged, rank, left, right};
    });
  }

  // After k steps -> {boxes: [{id, first, last, height, step}], of merged symbols, tops: [box, …] from left to right,
  // ranks: of each pair of neighboring tops, NONE without a merge}
  after(k) {
    const next = Array.from({length: this.n}, (_, i) => i + 1), previous = next.map(i => i - 2);
    const ranks = [...this.first, NONE], boxes = [];
    const top = this.symbols.map((id, i) => ({id, first: i, last: i, height: 0, step: NONE}));
    for (let s = 0; s < k; s++) {
      const {place, next: gone, merged, left, right} = this.steps[s];
      const box = {id: merged, first: top[place].first, last: top[gone].last, height: 1 + Math.max(top[place].height, top[gone].height), step: s};
      top[place] = box;
      boxes.push(box);
      next[place] = next[gone];
      if (next[place] < this.n) previous[next[place]] = place;
      if (previous[place] >= 0) ranks[previous[place]] = left;
      ranks[place] = right;
    }
    const tops = [], between = [];
    for (let i = 0; i < this.n; i = next[i]) {
      tops.push(top[i]);
      if (next[i] < this.n) between.push(ranks[i]);
    }
    return {boxes, tops, ranks: between};
  }

  // The pairs that have a merge, the next one first -> [{left, right, rank}] of ids
  candidates(k) {
    const {tops, ranks} = this.after(k);
    return ranks.map((rank, i) => ({left: tops[i].id, right: tops[i + 1].id, rank, place: i}))
      .filter(each => each.rank !== NONE).sort((a, b) => a.rank - b.rank || a.place - b.place);
  }

  get height() {
    return Math.max(0, ...this.after(this.count).boxes.map(box => box.height));
  }
}

// The characters that the bytes of the first symbols spell -> [{text, first, last}], indices of symbols
export function characters(symbols, tokens) {
  const found = [];
  symbols.forEach((id, i) => {
    const {bytes = [], added} = tokens[id] || {};
    const continues = bytes.length && (bytes[0] & 0xc0) === 0x80 && found.length && !added;
    if (continues) {
      const group = found[found.length - 1];
      group.bytes.push(...bytes);
      group.last = i;
    } else found.push({bytes: [...bytes], first: i, last: i, added, id});
  });
  return found.map(({bytes, first, last, added, id}) => ({first, last, bytes,
    text: added ? tokens[id].token : tokenText(new TextDecoder("utf-8", {ignoreBOM: true}).decode(Uint8Array.from(bytes)))}));
}

const CELL = 40, ROW = 26, LEAVES = 240;

// The boxes after k steps of a Merges. tokens: {id: {text, bytes, …}}; onclick(id)
export function drawMerges(merges, k, tokens, onclick, name) {
  const {boxes, tops, ranks} = merges.after(k), height = merges.height;
  const current = k ? boxes[k - 1] : null;
  const from = merges.n <= LEAVES || !current ? 0 : Math.max(0, Math.min(current.first - LEAVES / 2, merges.n - LEAVES));
  const to = Math.min(merges.n, from + LEAVES);
  const inside = box => box.last >= from && box.first < to;
  const PILLS = 20, base = PILLS + height * ROW;
  const x = i => (i - from) * CELL, y = h => base - h * ROW;
  const lowest = Math.min(...ranks.filter(rank => rank !== NONE));
  let isFirst = true;
  const topBoxes = new Set(tops);
  const leaf = i => ({id: merges.symbols[i], first: i, last: i, height: 0, step: NONE});
  const drawn = [...Array.from({length: to - from}, (_, i) => tops.find(top => top.first === from + i && top.height === 0) || leaf(from + i)), ...boxes.filter(inside)];
  const shapes = drawn.map(box => {
    const token = tokens[box.id], text = label(token), width = (box.last - box.first + 1) * CELL - 4;
    const letters = [...text], fits = Math.max(1, Math.floor((width - 4) / 7.4));
    const isTop = topBoxes.has(box), said = t("tokenizer.box", {text, id: box.id, bytes: token ? hexOf(token.bytes) : ""});
    const shape = svg("g", {class: `tok-box${isTop ? " top" : ""}${box === current ? " new" : ""}${box.step === NONE ? " leaf" : ""}`, "data-id": box.id,
      ...(isTop ? {tabindex: 0, role: "button", "aria-label": said} : {})}, svg("title", {}, said),
      svg("rect", {x: x(box.first) + 2, y: y(box.height) + 1, width, height: ROW - 3, rx: 5}),
      svg("text", {x: x(box.first) + 2 + width / 2, y: y(box.height) + ROW / 2, "text-anchor": "middle", "dominant-baseline": "central"},
        letters.length > fits ? `${letters.slice(0, Math.max(1, fits - 1)).join("")}…` : text));
    if (isTop && onclick) {
      shape.addEventListener("click", () => onclick(box.id));
      shape.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        onclick(box.id);
      });
    }
    return shape;
  });
  const pills = ranks.map((rank, i) => {
    if (rank === NONE || !inside(tops[i])) return null;
    const isNext = rank === lowest && isFirst;
    if (isNext) isFirst = false;
    const at = x(tops[i + 1].first), over = y(Math.max(tops[i].height, tops[i + 1].height)) - 9;
    return svg("g", {class: `tok-rank${isNext ? " next" : ""}`}, svg("title", {}, t("tokenizer.pair", {left: label(tokens[tops[i].id]), right: label(tokens[tops[i + 1].id]), rank: number(rank)})),
      svg("rect", {x: at - 17, y: over - 8, width: 34, height: 16, rx: 8}),
      svg("text", {x: at, y: over, "text-anchor": "middle", "dominant-baseline": "central"}, number(rank)));
  });
  const groups = characters(merges.symbols, tokens).filter(group => group.last >= from && group.first < to);
  const under = base + ROW + 4;
  const hexes = Array.from({length: to - from}, (_, i) => {
    const token = tokens[merges.symbols[from + i]];
    return svg("text", {class: "tok-hex", x: x(from + i) + CELL / 2, y: under + 8, "text-anchor": "middle", "dominant-baseline": "central"},
      token && token.bytes.length <= 2 ? hexOf(token.bytes) : token ? hexOf(token.bytes).replaceAll(" ", "") : "");
  });
  const brackets = groups.map(group => {
    const left = x(group.first) + 5, right = x(group.last + 1) - 5, at = under + 20;
    return [svg("path", {class: "tok-bracket", d: `M${left} ${at}v4H${right}v-4`}),
      svg("text", {class: "tok-character", x: (left + right) / 2, y: at + 17, "text-anchor": "middle", "dominant-baseline": "central"}, group.text)];
  });
  const width = (to - from) * CELL + 2, total = under + 50;
  return svg("svg", {class: "chart tok-merges", viewBox: `0 0 ${width} ${total}`, width, height: total, role: "group", "aria-label": name},
    shapes, pills, hexes, brackets);
}

// ---- WordPiece

// data: {attempts (n, 3), unknown};  after k attempts: what is found, and the last one tried
export function drawAttempts(word, data, k, tokens, name) {
  const letters = [...word], x = i => 4 + i * 30;
  const units = []; // the library counts code points, as `letters` does
  const at = i => Array.from(data.attempts.data.subarray(3 * i, 3 * i + 3));
  for (let i = 0; i < k; i++) {
    const [start, end, id] = at(i);
    if (id !== NONE || i === k - 1) units.push({start, end, id});
  }
  const boxes = units.map(({start, end, id}) => svg("g", {class: `tok-try ${id === NONE ? "missing" : "found"}`},
    svg("title", {}, id === NONE ? t("tokenizer.no_token") : `${tokens[id].token}, id ${id}`),
    svg("rect", {x: x(start) + 1, y: 34, width: (end - start) * 30 - 2, height: 26, rx: 5}),
    svg("text", {x: (x(start) + x(end)) / 2, y: 47, "text-anchor": "middle", "dominant-baseline": "central"}, id === NONE ? "✕" : tokens[id].token)));
  const width = x(letters.length) + 4;
  return svg("svg", {class: "chart tok-attempts", viewBox: `0 0 ${width} 64`, width, height: 64, role: "img", "aria-label": name},
    letters.map((letter, i) => svg("text", {class: "tok-character", x: x(i) + 15, y: 18, "text-anchor": "middle", "dominant-baseline": "central"}, tokenText(letter))), boxes);
}

// ---- SentencePiece

// data: {normalized, edges (n, 4), scores (n,), totals (n,), path};  k: the characters that are read
export function drawLattice(data, k, name) {
  const letters = [...data.normalized], STEP = 46, ROWS = 24, x = i => 6 + i * STEP;
  const done = k >= letters.length, rows = [];
  const edges = Array.from({length: data.edges.shape[0]}, (_, i) => {
    const [start, end, unknown, best] = data.edges.data.subarray(4 * i, 4 * i + 4);
    return {start, end, unknown, best, score: data.scores.data[i], total: data.totals.data[i]};
  }).filter(edge => edge.start < k);
  const arriving = new Map(edges.filter(edge => edge.best).map(edge => [edge.end, edge])), path = new Set();
  for (let end = letters.length; done && end && arriving.has(end); end = arriving.get(end).start) path.add(arriving.get(end));
  edges.sort((a, b) => b.end - b.start - (a.end - a.start) || a.start - b.start);
  for (const edge of edges) {
    let row = rows.findIndex(taken => taken.every(other => other.end <= edge.start || other.start >= edge.end));
    if (row < 0) row = rows.push([]) - 1;
    rows[row].push(edge);
    edge.row = row;
  }
  const top = 34, height = top + rows.length * ROWS + 26;
  const totals = new Map();
  edges.forEach(edge => {
    if (!totals.has(edge.end) || edge.total > totals.get(edge.end)) totals.set(edge.end, edge.total);
  });
  const boxes = edges.map(edge => {
    const piece = letters.slice(edge.start, edge.end).join(""), chosen = path.has(edge);
    const y = top + (rows.length - 1 - edge.row) * ROWS, width = (edge.end - edge.start) * STEP - 3;
    const said = t("tokenizer.edge", {piece, score: number(edge.score, 4), total: number(edge.total, 4)});
    return svg("g", {class: `tok-edge${edge.best ? " best" : ""}${chosen ? " chosen" : ""}${edge.unknown ? " unknown" : ""}`}, svg("title", {}, said),
      svg("rect", {x: x(edge.start) + 1, y, width, height: ROWS - 4, rx: 4}),
      svg("text", {x: x(edge.start) + width / 2, y: y + ROWS / 2 - 2, "text-anchor": "middle", "dominant-baseline": "central"},
        edge.end - edge.start > 1 ? `${piece}  ${edge.score.toFixed(1)}` : edge.score.toFixed(1)));
  });
  const width = x(letters.length) + 30;
  return svg("svg", {class: "chart tok-lattice", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": name},
    letters.map((letter, i) => svg("text", {class: `tok-character${i < k ? "" : " later"}`, x: x(i) + STEP / 2, y: 16, "text-anchor": "middle", "dominant-baseline": "central"}, letter)),
    boxes, [...totals].map(([end, total]) => svg("text", {class: "tick", x: x(end), y: height - 8, "text-anchor": "middle"}, total.toFixed(1))));
}
