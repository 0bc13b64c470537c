// The cache of keys and values: a column appears for each token, and the logits that it gives are compared
// with those of a pass without it.

import {el, number, tokenText} from "./dom.js";
import {heatMap} from "./heatmap.js";
import {select, panel, row, note} from "./controls.js";
import {t} from "./messages.js";

const bytes = n => (n < 10240 ? t("generation.n_bytes", {n: number(n)}) : n < 1e7 ? `${number(n / 1024, 3)} KiB` : `${number(n / 1024 ** 2, 3)} MiB`);

const partName = part => (part.startsWith("source") ? t("generation.of_source", {part: part.slice(-1)}) : part);

// -> {element, update(answer, names, own)}: own, whether the tokens aren't just the text's
export function cachePanel(context) {
  const badge = el("p", {class: "gen-badge", role: "status"});
  const facts = el("p", {class: "note"});
  const growing = el("div", {});
  const detail = el("div", {class: "gen-cache-detail"});
  let shown = null, current = null, part = "K", layer = null, head = 0;
  const element = panel(t("generation.cache"), badge, facts, el("div", {class: "gen-cache"}, growing, detail));

  const limitOf = i => current.cache.windows[Math.min(i, current.cache.windows.length - 1)] || 0;
  // A query at the next place reads the last `window` keys, its own among them.
  const isRead = (i, j) => !limitOf(i) || j > current.cache.shape[1] - limitOf(i);

  function update(answer, names, own) {
    current = {...answer, names, own};
    const {cache} = answer, difference = Array.from(cache.difference.data);
    const most = Math.max(...difference), same = most <= cache.tolerance;
    badge.className = `gen-badge ${same ? "good" : "bad"}`;
    badge.dataset.difference = most;
    badge.dataset.tolerance = cache.tolerance;
    badge.replaceChildren(el("strong", {}, t(same ? "generation.cached_equal" : "generation.cached_differs")), " ",
      el("span", {}, t("generation.cached_facts", {difference: number(most, 3), tolerance: number(cache.tolerance, 3), n: difference.length - 1})));
    badge.title = difference.map(each => number(each, 3)).join("  ");
    if (!cache.shape) {
      facts.textContent = t("generation.own_cache");
      return;
    }
    const [heads, length, width] = cache.shape, each = cache.bytes / length;
    const parts = [t("generation.cache_shape", {layers: cache.n_layers, heads, length, width, dtype: cache.dtype}),
      t("generation.cache_bytes", {each: bytes(each), all: bytes(cache.bytes)})];
    if (heads < cache.n_heads) parts.push(t("generation.grouped", {queries: cache.n_heads, heads, factor: cache.n_heads / heads}));
    const windows = [...new Set(cache.windows.filter(Boolean))];
    if (windows.length) parts.push(t("generation.window", {n: windows.join(", ")}));
    if (cache.memory) parts.push(t("generation.memory", {n: cache.memory[1], bytes: bytes(cache.memory_bytes)}));
    facts.textContent = parts.join(" ");
    drawNorms();
    if (layer !== null) showLayer();
  }

  function drawNorms() {
    const {cache, ids} = current, T = cache.shape[1], L = cache.n_layers;
    const value = (i, j) => (isRead(i >> 1, j) ? cache.norms.data[i * T + j] : NaN);
    const options = {
      rows: 2 * L, columns: T, value, label: t("generation.norm"), name: "cache-norms",
      rowLabels: Array.from({length: 2 * L}, (_, i) => `${i >> 1} ${i % 2 ? "V" : "K"}`),
      columnLabels: Array.from(ids.data, id => tokenText(current.names[id] ?? `#${id}`)),
      describe: (i, j) => [`${t("generation.layer")} ${i >> 1}, ${i % 2 ? "V" : "K"}: ‖·‖ = ${number(cache.norms.data[i * T + j], 4)}`,
        tokenText(current.names[ids.data[j]] ?? ""), ...(isRead(i >> 1, j) ? [] : [t("generation.unread")])],
      onclick: i => {
        layer = i >> 1;
        part = i % 2 ? "V" : "K";
        showLayer();
      },
      rowTitle: t("generation.layer"), ariaLabel: t("generation.cache"), maxHeight: 360,
      cell: [Math.max(6, Math.min(30, Math.floor((growing.clientWidth - 80) / T))), 17],
    };
    growing.replaceChildren(heatMap(options));
    if (layer === null) detail.replaceChildren(note(t("generation.cache_click")));
  }

  async function showLayer() {
    const mine = (shown = {});
    try {
      const found = await context.ask("generation_cache", {...(current.own ? {ids: Array.from(current.ids.data)} : {}), layer, memory: part.startsWith("source")});
      if (mine !== shown) return;
      const values = found[part.slice(-1)], said = t("generation.rows_of", {part: partName(part), layer, head});
      const [heads, T, D] = found.K.shape;
      head = Math.min(head, heads - 1);
      const rows = el("div", {});
      const draw = () => rows.replaceChildren(heatMap({
        rows: T, columns: D, data: values.data, offset: head * T * D, signed: true, label: part.slice(-1), name: `cache-${layer}-${part}-${head}`,
        rowLabels: found.tokens.map(tokenText), rowTitle: t("generation.token"), columnTitle: t("generation.dimension"), maxHeight: 380,
        ariaLabel: said}));
      detail.replaceChildren(el("h4", {}, said), row(
        select(t("generation.part"), ["K", "V", ...(current.cache.memory ? ["source K", "source V"] : [])].map(value => ({value, label: partName(value)})), part, value => {
          part = value;
          showLayer();
        }),
        select(t("generation.head"), Array.from({length: heads}, (_, h) => ({value: h, label: String(h)})), head, value => {
          head = Number(value);
          showLayer();
        })), rows);
      draw();
    } catch (error) {
      if (mine !== shown || context.signal.aborted) return;
      detail.replaceChildren(el("p", {class: "error"}, error.offline ? t("shell.offline") : error.message));
    }
  }

  return {element, update};
}
