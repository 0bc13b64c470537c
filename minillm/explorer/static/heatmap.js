// A matrix as colored cells on a canvas. It draws only what is in sight, so a thousand rows and
// columns don't slow it down. Arrow keys move a cursor; what it stands on is announced.

import {el, number} from "./dom.js";
import {rgb, inkOn, css} from "./color.js";
import {saveable} from "./save.js";
import {t} from "./messages.js";
import {announce} from "./announce.js";

const FONT = "11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";
const BIGGEST = 34, SMALLEST_WITH_TEXT = 15, MOST_HEIGHT = 520;

// options: {
//   rows, columns: numbers of cells;  value(i, j): a number, or data (row by row) and offset
//   limits: [lo, hi], by default those of the values;  signed: 0 is the background
//   rowLabels, columnLabels: lists of strings;  label: what the values are
//   cellText(i, j): text in cells that are wide enough;  describe(i, j): lines of the tooltip
//   onhover(i, j), onclick(i, j);  selected: [i, j];  cell: the size of a cell in pixels, or [width, height]
//   maxHeight: in pixels, before it scrolls;  ariaLabel;  name: of saved files;  rowTitle, columnTitle
// }
// -> element with update({…}), select(i, j), redraw()
export function heatMap(options) {
  const o = {signed: false, label: "", name: "heat-map", maxHeight: MOST_HEIGHT, ...options};
  const canvas = el("canvas", {"aria-hidden": "true"});
  const spacer = el("div", {class: "heat-spacer"});
  const scroller = el("div", {class: "heat-scroll", tabindex: 0, role: "application",
    "aria-roledescription": t("shell.heat_map")}, spacer, canvas);
  const tip = el("div", {class: "tip", hidden: true, "aria-hidden": "true"});
  const legend = el("div", {class: "legend"});
  const zooming = el("div", {class: "heat-zoom", role: "group", "aria-label": t("shell.zoom")},
    [["−", 1 / 1.6, "shell.zoom_out"], ["+", 1.6, "shell.zoom_in"]].map(([sign, factor, key]) =>
      el("button", {type: "button", class: "small", "aria-label": t(key), title: t(key), onclick: () => zoom(factor)}, sign)));
  const box = el("div", {class: "heat"}, scroller, tip, el("div", {class: "heat-foot"}, legend, zooming));
  const context = canvas.getContext("2d");
  let bitmap = null, lo = 0, hi = 1, cursor = null, scale = 1, frame = 0;
  let g = {};  // the geometry

  const value = (i, j) => (o.value ? o.value(i, j) : o.data[(o.offset || 0) + i * o.columns + j]);

  function measure() {
    context.font = FONT;
    const widest = labels => Math.min(130, Math.max(0, ...sample(labels).map(text => context.measureText(text).width)));
    const left = o.rowLabels ? widest(o.rowLabels) + 10 : 4;
    const top = o.columnLabels ? Math.min(86, widest(o.columnLabels)) + 10 : 4;
    const room = Math.max(80, (box.clientWidth || 600) - left - 6);
    const fixed = o.cell ? [o.cell].flat() : null;
    let width = fixed ? fixed[0] : Math.min(BIGGEST, room / o.columns);
    if (!fixed && width > 3) width = Math.floor(width);
    let height = fixed ? fixed[fixed.length - 1] : o.cellText ? Math.max(18, Math.min(BIGGEST, width)) : width;
    width *= scale;
    height *= scale;
    const viewWidth = Math.min(room, Math.ceil(width * o.columns)) + left + 2;
    const viewHeight = Math.min(o.maxHeight - top, Math.ceil(height * o.rows)) + top + 2;
    g = {left, top, width, height, viewWidth, viewHeight};
    zooming.hidden = o.rows < 24 && o.columns < 24 && scale === 1;
    const clipped = width * o.columns > room + 1 || height * o.rows > o.maxHeight - top + 1;
    scroller.style.width = `${viewWidth + (clipped ? 12 : 0)}px`;
    scroller.style.height = `${viewHeight + (clipped ? 12 : 0)}px`;
    spacer.style.width = `${left + width * o.columns}px`;
    spacer.style.height = `${top + height * o.rows}px`;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(viewWidth * ratio);
    canvas.height = Math.round(viewHeight * ratio);
    canvas.style.width = `${viewWidth}px`;
    canvas.style.height = `${viewHeight}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function paint() {  // one pixel a cell
    const image = new ImageData(Math.max(1, o.columns), Math.max(1, o.rows));
    [lo, hi] = o.limits || found();
    for (let i = 0, at = 0; i < o.rows; i++) {
      for (let j = 0; j < o.columns; j++, at += 4) {
        const [r, gr, b] = rgb(value(i, j), lo, hi, o.signed);
        image.data[at] = r;
        image.data[at + 1] = gr;
        image.data[at + 2] = b;
        image.data[at + 3] = 255;
      }
    }
    bitmap = el("canvas", {width: image.width, height: image.height});
    bitmap.getContext("2d").putImageData(image, 0, 0);
    drawLegend();
  }

  function found() {
    let [least, most] = [Infinity, -Infinity];
    for (let i = 0; i < o.rows; i++) {
      for (let j = 0; j < o.columns; j++) {
        const x = value(i, j);
        if (x < least) least = x;
        if (x > most) most = x;
      }
    }
    if (!(least <= most)) return [0, 1];
    if (o.signed) {
      const limit = Math.max(Math.abs(least), Math.abs(most)) || 1;
      return [-limit, limit];
    }
    return least === most ? [least, least + 1] : [least, most];
  }

  function draw() {
    frame = 0;
    if (!bitmap) return;
    const {left, top, width, height, viewWidth, viewHeight} = g;
    const [x0, y0] = [scroller.scrollLeft, scroller.scrollTop];
    context.clearRect(0, 0, viewWidth, viewHeight);
    context.save();
    context.beginPath();
    context.rect(left, top, viewWidth - left, viewHeight - top);
    context.clip();
    context.imageSmoothingEnabled = width < 1;
    context.drawImage(bitmap, left - x0, top - y0, width * o.columns, height * o.rows);
    const rows = seen(y0, viewHeight - top, height, o.rows), columns = seen(x0, viewWidth - left, width, o.columns);
    if (width >= 7 && height >= 7) drawLines(rows, columns, x0, y0);
    if (o.cellText && width >= SMALLEST_WITH_TEXT && height >= 12) drawTexts(rows, columns, x0, y0);
    for (const [place, color] of [[o.selected, css("--ink")], [cursor, css("--accent-ink")]]) {
      if (!place) continue;
      context.strokeStyle = color;
      context.lineWidth = 2;
      context.strokeRect(left - x0 + place[1] * width, top - y0 + place[0] * height, Math.max(3, width), Math.max(3, height));
    }
    context.restore();
    drawLabels(rows, columns, x0, y0);
  }

  function seen(start, length, size, count) {
    return [Math.max(0, Math.floor(start / size)), Math.min(count, Math.ceil((start + length) / size))];
  }

  function drawLines([i0, i1], [j0, j1], x0, y0) {
    context.strokeStyle = css("--paper");
    context.lineWidth = 1;
    context.beginPath();
    for (let i = i0; i <= i1; i++) {
      const y = Math.round(g.top - y0 + i * g.height) + 0.5;
      context.moveTo(g.left - x0 + j0 * g.width, y);
      context.lineTo(g.left - x0 + j1 * g.width, y);
    }
    for (let j = j0; j <= j1; j++) {
      const x = Math.round(g.left - x0 + j * g.width) + 0.5;
      context.moveTo(x, g.top - y0 + i0 * g.height);
      context.lineTo(x, g.top - y0 + i1 * g.height);
    }
    context.stroke();
  }

  function drawTexts([i0, i1], [j0, j1], x0, y0) {
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = i0; i < i1; i++) {
      for (let j = j0; j < j1; j++) {
        const text = fit(String(o.cellText(i, j) ?? ""), g.width - 4);
        if (!text) continue;
        context.fillStyle = inkOn(rgb(value(i, j), lo, hi, o.signed));
        context.fillText(text, g.left - x0 + (j + 0.5) * g.width, g.top - y0 + (i + 0.5) * g.height);
      }
    }
  }

  function fit(text, width) {
    if (context.measureText(text).width <= width) return text;
    while (text && context.measureText(`${text}…`).width > width) text = text.slice(0, -1);
    return text ? `${text}…` : "";
  }

  function drawLabels([i0, i1], [j0, j1], x0, y0) {
    context.font = FONT;
    context.fillStyle = css("--muted");
    context.textBaseline = "middle";
    if (o.rowLabels) {
      const step = Math.max(1, Math.ceil(12 / g.height));
      context.textAlign = "right";
      for (let i = i0; i < i1; i++) {
        const y = g.top - y0 + (i + 0.5) * g.height;
        if (i % step === 0 && y >= g.top) context.fillText(fit(o.rowLabels[i] ?? "", g.left - 8), g.left - 5, y);
      }
    }
    if (o.columnLabels) {
      const step = Math.max(1, Math.ceil(12 / g.width));
      context.textAlign = "left";
      for (let j = j0; j < j1; j++) {
        const x = g.left - x0 + (j + 0.5) * g.width;
        if (j % step || x < g.left) continue;
        context.save();
        context.translate(x, g.top - 5);
        context.rotate(-Math.PI / 2);
        context.fillText(fit(o.columnLabels[j] ?? "", g.top - 8), 0, 0);
        context.restore();
      }
    }
  }

  function drawLegend() {
    const stops = el("span", {class: "legend-bar"});
    const steps = Array.from({length: 9}, (_, k) => lo + ((hi - lo) * k) / 8);
    stops.style.background = `linear-gradient(90deg, ${steps.map(x => `rgb(${rgb(x, lo, hi, o.signed).join(" ")})`).join(", ")})`;
    legend.replaceChildren(el("span", {}, number(lo, 3)), stops, el("span", {}, number(hi, 3)), el("span", {class: "legend-label"}, o.label));
  }

  function place(event) {
    const at = scroller.getBoundingClientRect();
    const j = Math.floor((event.clientX - at.left - g.left + scroller.scrollLeft) / g.width);
    const i = Math.floor((event.clientY - at.top - g.top + scroller.scrollTop) / g.height);
    const inside = i >= 0 && j >= 0 && i < o.rows && j < o.columns && event.clientX - at.left >= g.left && event.clientY - at.top >= g.top;
    return inside ? [i, j] : null;
  }

  const nameOf = (labels, k) => (labels && labels[k] !== undefined ? labels[k] : String(k));

  function lines(i, j) {
    if (o.describe) return o.describe(i, j);
    return [`${o.rowTitle || ""} ${nameOf(o.rowLabels, i)} · ${o.columnTitle || ""} ${nameOf(o.columnLabels, j)}`.replace(/\s+/g, " ").trim(),
      `${o.label} ${number(value(i, j))}`.trim()];
  }

  function show(i, j) {
    tip.replaceChildren(...[lines(i, j)].flat().map(line => el("div", {}, line)));
    tip.hidden = false;
    const x = g.left - scroller.scrollLeft + (j + 1) * g.width, y = g.top - scroller.scrollTop + (i + 1) * g.height;
    tip.style.left = `${Math.max(0, Math.min(x + 6, box.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 6}px`;
    if (o.onhover) o.onhover(i, j);
  }

  function hide() {
    tip.hidden = true;
    if (o.onhover) o.onhover(null, null);
  }

  function moveTo(i, j) {
    cursor = [Math.min(o.rows - 1, Math.max(0, i)), Math.min(o.columns - 1, Math.max(0, j))];
    [i, j] = cursor;
    const into = (at, start, length, size) => (at * size < start ? at * size : (at + 1) * size > start + length ? (at + 1) * size - length : start);
    scroller.scrollTop = into(i, scroller.scrollTop, g.viewHeight - g.top, g.height);
    scroller.scrollLeft = into(j, scroller.scrollLeft, g.viewWidth - g.left, g.width);
    show(i, j);
    announce([lines(i, j)].flat().join(", "));
    soon();
  }

  function zoom(factor) {
    scale = Math.max(1, Math.min(64, scale * factor));
    const [x, y] = [scroller.scrollLeft / (g.width * o.columns), scroller.scrollTop / (g.height * o.rows)];
    measure();
    scroller.scrollLeft = x * g.width * o.columns;
    scroller.scrollTop = y * g.height * o.rows;
    draw();
  }

  const soon = () => {
    if (!frame) frame = requestAnimationFrame(draw);
  };

  scroller.addEventListener("scroll", soon, {passive: true});
  scroller.addEventListener("mousemove", event => {
    const at = place(event);
    if (at) show(...at);
    else hide();
    scroller.style.cursor = at && o.onclick ? "pointer" : "default";
  });
  scroller.addEventListener("mouseleave", hide);
  scroller.addEventListener("click", event => {
    const at = place(event);
    if (!at) return;
    cursor = at;
    show(...at);
    if (o.onclick) o.onclick(...at);
    soon();
  });
  scroller.addEventListener("focus", () => {
    if (!cursor && scroller.matches(":focus-visible")) moveTo(...(o.selected || [0, 0]));
  });
  scroller.addEventListener("blur", () => {
    cursor = null;
    hide();
    soon();
  });
  scroller.addEventListener("keydown", event => {
    const [i, j] = cursor || o.selected || [0, 0];
    const page = Math.max(1, Math.floor((g.viewHeight - g.top) / g.height));
    const moves = {ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
      Home: [i, 0], End: [i, o.columns - 1], PageUp: [i - page, j], PageDown: [i + page, j]};
    if (event.key in moves) moveTo(...moves[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && o.onclick) o.onclick(i, j);
    else if (event.key === "+") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function label() {
    scroller.setAttribute("aria-label", o.ariaLabel || t("shell.heat_map_of", {rows: o.rows, columns: o.columns, label: o.label || o.name}));
  }

  let lastWidth = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === lastWidth) return;
    lastWidth = box.clientWidth;
    measure();
    draw();
  }).observe(box);

  // A picture of the whole matrix, not only of what is in sight
  function picture() {
    const width = Math.max(2, Math.min(24, Math.floor(4000 / o.columns))), height = width;
    const whole = el("canvas", {width: g.left + width * o.columns + 8, height: g.top + height * o.rows + 8});
    const c = whole.getContext("2d");
    c.fillStyle = css("--paper");
    c.fillRect(0, 0, whole.width, whole.height);
    c.imageSmoothingEnabled = false;
    c.drawImage(bitmap, g.left, g.top, width * o.columns, height * o.rows);
    c.font = FONT;
    c.fillStyle = css("--ink");
    if (width >= 9) {
      c.textBaseline = "middle";
      c.textAlign = "right";
      (o.rowLabels || []).forEach((text, i) => c.fillText(text, g.left - 5, g.top + (i + 0.5) * height, g.left - 8));
      c.textAlign = "left";
      (o.columnLabels || []).forEach((text, j) => {
        c.save();
        c.translate(g.left + (j + 0.5) * width, g.top - 5);
        c.rotate(-Math.PI / 2);
        c.fillText(text, 0, 0, g.top - 8);
        c.restore();
      });
    }
    return whole;
  }

  function drawing() {
    const width = 18, escape = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
    const parts = [];
    if (o.rows * o.columns <= 20000) {
      for (let i = 0; i < o.rows; i++) {
        for (let j = 0; j < o.columns; j++) {
          parts.push(`<rect x="${g.left + j * width}" y="${g.top + i * width}" width="${width}" height="${width}" fill="rgb(${rgb(value(i, j), lo, hi, o.signed).join(",")})"><title>${escape([lines(i, j)].flat().join(", "))}</title></rect>`);
        }
      }
    } else {
      parts.push(`<image x="${g.left}" y="${g.top}" width="${o.columns * width}" height="${o.rows * width}" preserveAspectRatio="none" href="${bitmap.toDataURL()}"/>`);
    }
    (o.rowLabels || []).forEach((text, i) => parts.push(`<text x="${g.left - 5}" y="${g.top + (i + 0.7) * width}" text-anchor="end">${escape(text)}</text>`));
    (o.columnLabels || []).forEach((text, j) => parts.push(`<text transform="translate(${g.left + (j + 0.7) * width} ${g.top - 5}) rotate(-90)">${escape(text)}</text>`));
    const [w, h] = [g.left + o.columns * width + 8, g.top + o.rows * width + 8];
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" font-family="monospace" font-size="11" fill="${css("--ink")}"><rect width="100%" height="100%" fill="${css("--paper")}"/>${parts.join("")}</svg>`;
  }

  const matrix = () => Array.from({length: o.rows}, (_, i) => Array.from({length: o.columns}, (_, j) => value(i, j)));
  const whole = saveable(box, {
    get name() { return o.name; }, svg: drawing, png: picture,
    json: () => ({label: o.label, rows: o.rowLabels || o.rows, columns: o.columnLabels || o.columns, values: matrix()}),
    rows: () => [["", ...Array.from({length: o.columns}, (_, j) => nameOf(o.columnLabels, j))],
      ...matrix().map((values, i) => [nameOf(o.rowLabels, i), ...values])],
  });
  whole.classList.add("heat-figure");
  whole.update = changes => {
    Object.assign(o, changes);
    label();
    paint();
    measure();
    draw();
  };
  whole.select = (i, j) => {
    o.selected = i === null ? null : [i, j];
    soon();
  };
  whole.redraw = () => {
    paint();
    draw();
  };
  label();
  paint();
  measure();
  draw();
  return whole;
}

// Enough labels to know how wide they are
function sample(labels) {
  if (labels.length <= 200) return labels;
  const step = Math.ceil(labels.length / 200);
  return labels.filter((_, i) => i % step === 0);
}
