// Where the nodes of a call and of the calls opened in it stand: layers from top to bottom, the
// residual stream as a straight line at the left, what branches off it to its right.

const GAP_X = 26, GAP_Y = 38, PAD = 14, HEAD = 30;

// graph: the answer of the view `graph`
export class Layout {
  // isOpen(call): whether a call is drawn with its inside;  backward: draw the twins, upward
  constructor(graph, isOpen, backward) {
    this.graph = graph;
    this.isOpen = isOpen;
    this.backward = backward;
  }

  // -> {call, w, h, items: [{node, call, x, y, w, h, inner}], edges: [{from, to, values, points}], flipped}
  of(call, depth = 0) {
    const shown = this.shownOf(call);
    const flipped = isOfBackward(this.graph.calls[shown]);
    const {nodes, edges} = this.parts(shown, depth);
    const layers = rank(nodes, edges);
    const {columns, links} = withDummies(nodes, edges, layers);
    order(columns, links);
    place(columns, links);
    return this.finish(call, shown, nodes, links, flipped);
  }

  // A function of the backward graph shows its twin, whose own lines compute the gradients.
  shownOf(call) {
    const {calls} = this.graph;
    const {type, twin, parent} = calls[call];
    return this.backward && !type && twin >= 0 && parent >= 0 && !isOfBackward(calls[call]) ? twin : call;
  }

  parts(call, depth) {
    const {calls, values} = this.graph;
    const source = calls[call];
    const kept = source.edges.filter(([from, to, value]) => from !== to && (isFloat(values, value) ||
      !source.edges.some(other => other[1] === to && isFloat(values, other[2]))));
    const used = new Set(kept.flatMap(([from, to]) => [from, to]));
    const nodes = source.nodes.map((node, place) => this.item(source, node, place, depth)).filter(each =>
      used.has(each.place) || each.kind === "call");
    const byPlace = new Map(nodes.map(each => [each.place, each]));
    const edges = [];
    for (const [from, to, value] of kept) {
      const [a, b] = [byPlace.get(from), byPlace.get(to)];
      const known = edges.find(each => each.from === a && each.to === b);
      if (known) known.values.push(value);
      else edges.push({from: a, to: b, values: [value]});
    }
    return {nodes, edges};
  }

  item(source, [kind, label, call, first, last, values], place, depth) {
    const item = {kind, label, call, first, last, values, place, owner: source, dummy: false};
    if (kind === "call" && this.isOpen(call)) {
      item.inner = this.of(call, depth + 1);
      item.w = Math.max(item.inner.w + 2 * PAD, textWidth(label) * 1.12 + textWidth(this.graph.calls[call].type) * 0.9 + 60);
      item.h = item.inner.h + 2 * PAD + HEAD;
    } else if (kind === "statement") {
      item.w = label.length < 2 ? 28 : textWidth(label) + 20;
      item.h = 28;
    } else if (kind === "call") {
      const type = this.graph.calls[call].type;
      item.w = Math.max(76, textWidth(label) * 1.12 + (type ? textWidth(type) * 0.9 + 14 : 0) + 42);
      item.h = 34;
    } else {
      item.w = textWidth(shortName(label)) + 16;
      item.h = 22;
    }
    return item;
  }

  finish(call, shown, nodes, links, flipped) {
    const real = nodes.filter(each => !each.dummy);
    const left = Math.min(...links.flatMap(each => each.path.map(one => one.x)), ...nodes.map(each => each.x), 0);
    const right = Math.max(...nodes.map(each => each.x + each.w), 40);
    const h = Math.max(...nodes.map(each => each.y + each.h), 30);
    const up = (y, size = 0) => (flipped ? h - y - size : y);
    const edges = links.map(({from, to, values, path}) => {
      const middle = path.slice(1, -1).flatMap(each => [each.y, each.y + each.h].map(y => [each.x + each.w / 2 - left, up(y)]));
      const start = [from.x + from.w / 2 - left, up(from.y + from.h)], end = [to.x + to.w / 2 - left, up(to.y)];
      return {from, to, values, points: [start, ...middle, end]};
    });
    for (const each of real) {
      each.x -= left;
      each.y = up(each.y, each.h);
    }
    return {call, shown, w: right - left, h, items: real, edges, flipped};
  }
}

export const isOfBackward = call => call.id.startsWith("backward/");

export function isFloat(values, value) {
  return values.dtype[value].startsWith("float");
}

// "transformer.h.0.norm1.weight" is "weight" beside the formula that reads it
export function shortName(label) {
  return label.includes(".") ? label.split(".").slice(-1)[0] : label;
}

function textWidth(text) {
  let width = 0;
  for (const c of text) width += c.charCodeAt(0) > 0x2e80 ? 13 : 7.1;
  return width;
}

// The longest way from a source; sources stand just above the first node that reads them.
function rank(nodes, edges) {
  const layers = new Map(nodes.map(each => [each, 0]));
  for (let round = 0, changed = true; changed && round < nodes.length + 1; round++) {
    changed = false;
    for (const {from, to} of edges) {
      if (layers.get(to) < layers.get(from) + 1) {
        layers.set(to, layers.get(from) + 1);
        changed = true;
      }
    }
  }
  for (const each of nodes) {
    if (edges.some(edge => edge.to === each)) continue;
    const readers = edges.filter(edge => edge.from === each).map(edge => layers.get(edge.to));
    if (readers.length) layers.set(each, Math.max(0, Math.min(...readers) - 1));
  }
  return layers;
}

// Long edges get an invisible node in every layer that they pass.
function withDummies(nodes, edges, layers) {
  const columns = [];
  const put = (item, layer) => {
    (columns[layer] ??= []).push(item);
    item.layer = layer;
  };
  const links = edges.map(({from, to, values}) => {
    const path = [from];
    for (let layer = layers.get(from) + 1; layer < layers.get(to); layer++) {
      const dummy = {dummy: true, w: 12, h: 0, lane: true};
      put(dummy, layer);
      path.push(dummy);
    }
    return {from, to, values, path: [...path, to]};
  });
  nodes.forEach(each => put(each, layers.get(each)));
  for (let layer = 0; layer < columns.length; layer++) columns[layer] ??= [];
  return {columns, links};
}

function neighbors(links) {
  const above = new Map(), below = new Map();
  const add = (map, key, value) => map.set(key, [...(map.get(key) || []), value]);
  for (const {path} of links) {
    for (let k = 0; k + 1 < path.length; k++) {
      add(below, path[k], path[k + 1]);
      add(above, path[k + 1], path[k]);
    }
  }
  return {above, below};
}

// Within a layer: by the mean place of the neighbors, passing edges to the left at first.
function order(columns, links) {
  const {above, below} = neighbors(links);
  const at = new Map();
  const number = column => column.forEach((each, k) => at.set(each, k - (column.length - 1) / 2));
  columns.forEach(column => {
    column.sort((a, b) => (b.dummy ? 1 : 0) - (a.dummy ? 1 : 0));
    number(column);
  });
  const mean = list => list.reduce((sum, each) => sum + at.get(each), 0) / list.length;
  for (let sweep = 0; sweep < 6; sweep++) {
    const map = sweep % 2 ? below : above;
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const key = new Map(column.map(each => [each, map.get(each) ? mean(map.get(each)) : at.get(each)]));
      column.sort((a, b) => key.get(a) - key.get(b) || (b.dummy ? 1 : 0) - (a.dummy ? 1 : 0));
      number(column);
    }
  }
}

function place(columns, links) {
  const {above, below} = neighbors(links);
  let y = 0;
  for (const column of columns) {
    const height = Math.max(0, ...column.map(each => each.h));
    let x = 0;
    for (const each of column) {
      each.x = x;
      if (each.dummy) each.h = height;  // a line goes straight past everything in its layer
      each.y = y + (height - each.h) / 2;
      x += each.w + GAP_X;
    }
    const shift = (x - GAP_X) / 2;
    column.forEach(each => (each.x -= shift));
    y += height + GAP_Y;
  }
  const center = each => each.x + each.w / 2;
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const wanted = column.map(each => {
        const near = sweep > 9 ? [...(above.get(each) || []), ...(below.get(each) || [])] : (sweep % 2 ? below : above).get(each) || [];
        const lanes = near.filter(one => each.dummy || one.dummy);
        const list = lanes.length && each.dummy ? lanes : near;
        return list.length ? list.reduce((sum, one) => sum + center(one), 0) / list.length : center(each);
      });
      settle(column, wanted);
    }
  }
}

// Move the items of a layer towards the wanted centers; keep their order and the gaps.
function settle(column, wanted) {
  const groups = [];
  column.forEach((each, k) => {
    let group = {items: [each], w: each.w, start: wanted[k] - each.w / 2, weight: 1};
    while (groups.length && groups[groups.length - 1].start + groups[groups.length - 1].w + GAP_X > group.start) {
      const last = groups.pop();
      const start = (last.start * last.weight + (group.start - last.w - GAP_X) * group.weight) / (last.weight + group.weight);
      group = {items: [...last.items, ...group.items], w: last.w + GAP_X + group.w, start, weight: last.weight + group.weight};
    }
    groups.push(group);
  });
  for (const group of groups) {
    let x = group.start;
    for (const each of group.items) {
      each.x = x;
      x += each.w + GAP_X;
    }
  }
}

export const SIZES = {PAD, HEAD};
