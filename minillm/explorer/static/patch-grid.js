// Two grids, one for each run: rows are places in the model, columns are positions of the text. A cell
// is picked up in one grid and dropped in the other: with the mouse, with a finger, with two clicks, or
// with the keyboard.

import {el, tokenText} from "./dom.js";
import {t} from "./messages.js";

const FAR = 6, HOLD = 260; // pixels and milliseconds that make a press a drag
const EDGE = 70; // pixels from the window's edge in which a drag scrolls
const SIDES = ["clean", "corrupt"];
const otherSide = side => (side === "clean" ? "corrupt" : "clean");
const key = (r, c) => `${r},${c}`;

// o: {
//   rows: [{label, short}, …], the highest first;  columns: [first, last + 1] of what is in sight
//   tokens: {clean, corrupt};  differs: Set of positions;  position: the one that answers
//   effect(side, r, c) -> {share, exact}: the effect of patching this cell of the run `side`, or null
//   patched(side, r, c) -> text, or null;  say(side, r, c) -> what a cell is called
//   described: id of the text that says how to move values
//   drop(from, cells: [[r, c], …], anchor: [r, c], target: [r, c]);  remove(side, r, c);  announce(text)
// }
export class PatchGrids {
  constructor(o) {
    this.o = o;
    this.hand = null; // {side, cells, anchor}: what was picked up
    this.chosen = {side: null, cells: [], anchor: null}; // the selection
    this.cells = {clean: new Map(), corrupt: new Map()};
    this.scrollers = {};
    this.at = {clean: [0, o.columns[0]], corrupt: [0, o.columns[0]]}; // where the keyboard is
    this.status = el("p", {class: "hand", role: "status"});
    const n = o.columns[1] - o.columns[0];
    this.element = el("div", {class: `patch-grids${n <= 9 ? " few" : n <= 13 ? " some" : ""}${n > 13 && o.rows.length <= 8 ? " stacked" : ""}`}, SIDES.map(side => this.grid(side)));
    this.refresh();
    this.say();
  }

  // Scroll so that a position is in sight; the two grids scroll together.
  reveal(c) {
    const cell = this.cells.clean.get(key(0, c));
    const box = this.scrollers.clean;
    if (cell && box.scrollWidth > box.clientWidth) box.scrollLeft = cell.offsetLeft - box.clientWidth / 2;
  }

  follows(side) {
    const [from, to] = [this.scrollers[side], this.scrollers[otherSide(side)]];
    [to.scrollLeft, to.scrollTop] = [from.scrollLeft, from.scrollTop];
  }

  leave() {
    this.endDrag();
  }

  grid(side) {
    const {o} = this;
    const [first, end] = o.columns;
    const columns = Array.from({length: end - first}, (_, j) => first + j);
    const lines = o.rows.map((row, r) => el("div", {role: "row", class: `grid-row${row.starts ? " starts" : ""}`},
      el("div", {role: "rowheader", class: "row-head"},
        el("button", {type: "button", class: "row-grip", tabindex: -1, title: t("patching.whole_row", {row: row.label}),
          "aria-label": t("patching.whole_row", {row: row.label}), dataset: {r, c: -1}}, row.short)),
      columns.map(c => {
        const cell = el("div", {role: "gridcell", class: "cell", tabindex: -1, dataset: {r, c}}, el("span", {class: "bubble"}));
        this.cells[side].set(key(r, c), cell);
        return cell;
      })));
    const heads = el("div", {role: "row", class: "grid-row heads"}, el("div", {role: "columnheader", class: "row-head"}, el("span", {class: "unseen"}, t("patching.place"))),
      columns.map(c => el("div", {role: "columnheader", class: `column-head${o.differs.has(c) ? " differs" : ""}${c === o.position ? " asks" : ""}`,
        title: `${c}: ${o.tokens[side][c]}`}, el("span", {}, tokenText(o.tokens[side][c])))));
    const table = el("div", {role: "grid", class: "cells", "aria-label": t(`patching.grid_${side}`), "aria-multiselectable": "true",
      "aria-describedby": o.described}, lines, heads);
    table.addEventListener("keydown", event => this.keydown(event, side));
    table.addEventListener("pointerdown", event => this.pointerdown(event, side));
    table.addEventListener("click", event => this.click(event, side));
    table.addEventListener("touchmove", event => this.drag && this.drag.on && event.preventDefault(), {passive: false});
    table.addEventListener("contextmenu", event => this.drag && event.preventDefault());
    table.addEventListener("focusin", event => {
      const place = this.placeOf(event.target);
      if (place && place[1] >= 0) this.at[side] = place;
    });
    return el("section", {class: `run run-${side}`, "aria-label": t(`patching.run_${side}`)},
      el("h4", {}, el("span", {class: "dot-mark", "aria-hidden": "true"}), t(`patching.run_${side}`)),
      this.scrollers[side] = el("div", {class: "scroll", tabindex: -1, onscroll: () => this.follows(side)}, table));
  }

  // Show effects, patches, the selection and the hand anew.
  refresh() {
    const {o} = this;
    for (const side of SIDES) {
      for (const [id, cell] of this.cells[side]) {
        const [r, c] = id.split(",").map(Number);
        const found = o.effect(side, r, c), patch = o.patched(side, r, c);
        const now = `${found ? found.share : ""} ${found && found.exact} ${patch}`;
        if (cell.dataset.shown === now) continue; // thousands of cells: write only what changed
        cell.dataset.shown = now;
        const bubble = cell.firstChild;
        const size = found ? Math.sqrt(Math.min(1, Math.abs(found.share))) : 0;
        bubble.style.setProperty("--size", size.toFixed(3));
        bubble.className = `bubble${found && found.share < 0 ? " less" : ""}${found && found.exact ? " exact" : ""}`;
        cell.classList.toggle("patched", patch !== null);
        cell.setAttribute("aria-label", o.say(side, r, c) + (patch ? `. ${patch}` : ""));
        cell.title = o.say(side, r, c) + (patch ? `\n${patch}` : "");
      }
    }
    this.mark();
  }

  mark() {
    const isChosen = new Set(this.chosen.cells.map(([r, c]) => key(r, c)));
    for (const side of SIDES) {
      for (const [id, cell] of this.cells[side]) {
        const on = side === this.chosen.side && isChosen.has(id);
        if (cell.ariaSelected !== String(on)) cell.setAttribute("aria-selected", String(on));
        cell.classList.toggle("held", on && this.hand !== null);
        const stop = id === key(...this.at[side]) ? 0 : -1;
        if (cell.tabIndex !== stop) cell.tabIndex = stop;
      }
    }
    this.element.classList.toggle("holding", this.hand !== null);
    this.element.dataset.hand = this.hand ? this.hand.side : "";
  }

  say() {
    const {hand} = this;
    this.status.textContent = hand ? t("patching.in_hand", {what: this.nameOf(hand), side: t(`patching.run_${otherSide(hand.side)}`)}) : t("patching.hand_empty");
  }

  nameOf({side, cells}) {
    return cells.length === 1 ? this.o.say(side, ...cells[0], true) : t("patching.n_cells", {n: cells.length});
  }

  placeOf(target) {
    const cell = target && target.closest && target.closest("[data-r]");
    return cell ? [Number(cell.dataset.r), Number(cell.dataset.c)] : null;
  }

  rowCells(r) {
    return Array.from({length: this.o.tokens.clean.length}, (_, c) => [r, c]);
  }

  // Select a cell, extend the selection to it, or add it.
  choose(side, r, c, {extend = false, add = false} = {}) {
    const {chosen} = this;
    if (c < 0) this.chosen = {side, cells: this.rowCells(r), anchor: [r, 0]};
    else if (extend && chosen.side === side) {
      const [r0, c0] = chosen.anchor;
      const cells = [];
      for (let i = Math.min(r0, r); i <= Math.max(r0, r); i++) {
        for (let j = Math.min(c0, c); j <= Math.max(c0, c); j++) cells.push([i, j]);
      }
      this.chosen = {side, cells, anchor: chosen.anchor};
    } else if (add && chosen.side === side) {
      const rest = chosen.cells.filter(([i, j]) => i !== r || j !== c);
      const cells = rest.length < chosen.cells.length && rest.length ? rest : [...rest, [r, c]];
      this.chosen = {side, cells, anchor: cells.includes(chosen.anchor) ? chosen.anchor : cells[cells.length - 1]};
    } else this.chosen = {side, cells: [[r, c]], anchor: [r, c]};
    this.mark();
  }

  isChosen(side, r, c) {
    return this.chosen.side === side && this.chosen.cells.some(([i, j]) => i === r && j === c);
  }

  pickUp(anchor = null) {
    const {side, cells} = this.chosen;
    this.hand = {side, cells, anchor: anchor || this.chosen.anchor};
    this.mark();
    this.say();
  }

  letGo() {
    this.hand = null;
    this.chosen = {side: null, cells: [], anchor: null};
    this.mark();
    this.say();
  }

  put(target) {
    const {side, cells, anchor} = this.hand;
    const to = otherSide(side);
    this.at[to] = target[1] < 0 ? [target[0], anchor[1]] : target;
    this.letGo();
    this.o.drop(side, cells, anchor, target[1] < 0 ? [target[0], anchor[1]] : target);
  }

  focus(side, r, c) {
    const cell = this.cells[side].get(key(r, c));
    if (!cell) return;
    this.at[side] = [r, c];
    this.mark();
    cell.focus();
  }

  keydown(event, side) {
    const {o} = this;
    const [r, c] = this.at[side];
    const [first, end] = o.columns;
    const within = (i, j) => [Math.max(0, Math.min(o.rows.length - 1, i)), Math.max(first, Math.min(end - 1, j))];
    const moves = {ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1],
      Home: [r, first], End: [r, end - 1], PageUp: [0, c], PageDown: [o.rows.length - 1, c]};
    if (event.key in moves) {
      const to = within(...moves[event.key]);
      if (event.shiftKey && !this.hand) {
        if (!this.isChosen(side, r, c)) this.choose(side, r, c);
        this.choose(side, ...to, {extend: true});
      }
      this.focus(side, ...to);
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.hand && this.hand.side !== side) this.put([r, c]);
      else {
        if (!this.isChosen(side, r, c)) this.choose(side, r, c);
        this.pickUp([r, c]);
        const to = otherSide(side);
        this.focus(to, r, c);
        o.announce(this.status.textContent);
      }
    } else if (event.key === "Escape" && (this.hand || this.chosen.side)) {
      const from = this.hand;
      this.letGo();
      if (from) this.focus(from.side, ...from.anchor);
      o.announce(t("patching.let_go"));
    } else if (event.key === "Delete" || event.key === "Backspace") o.remove(side, r, c);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.choose(side, r, -1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- mouse and finger

  click(event, side) {
    const place = this.placeOf(event.target);
    if (!place || event.detail === 0 && !event.target.closest(".row-grip")) return;
    if (this.justDragged) {
      this.justDragged = false;
      return;
    }
    if (this.hand && this.hand.side !== side) {
      this.put(place);
      return;
    }
    const options = {extend: event.shiftKey, add: event.ctrlKey || event.metaKey};
    this.choose(side, ...place, options);
    this.pickUp();
    if (place[1] >= 0) this.focus(side, ...place);
  }

  pointerdown(event, side) {
    const place = this.placeOf(event.target);
    if (!place || event.button !== 0) return;
    this.justDragged = false;
    const drag = this.drag = {side, place, x: event.clientX, y: event.clientY, on: false, pointer: event.pointerId, isTouch: event.pointerType === "touch"};
    if (drag.isTouch) drag.timer = setTimeout(() => this.startDrag(drag), HOLD);
    drag.move = each => this.pointermove(each);
    drag.up = each => this.pointerup(each);
    drag.cancel = () => this.endDrag();
    drag.keys = each => {
      if (each.key === "Escape" && drag.on) {
        this.endDrag();
        this.letGo();
      }
    };
    addEventListener("pointermove", drag.move);
    addEventListener("pointerup", drag.up);
    addEventListener("pointercancel", drag.cancel);
    addEventListener("keydown", drag.keys, true);
    if (!drag.isTouch) event.target.releasePointerCapture?.(event.pointerId);
  }

  startDrag(drag) {
    if (this.drag !== drag) return;
    drag.on = true;
    const [r, c] = drag.place;
    if (!this.isChosen(drag.side, r, c)) this.choose(drag.side, r, c);
    this.pickUp(c < 0 ? [r, 0] : [r, c]);
    drag.ghost = el("div", {class: `ghost ghost-${drag.side}`, "aria-hidden": "true"}, this.nameOf(this.hand));
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
    this.follow(drag.x, drag.y);
  }

  follow(x, y) {
    const {drag} = this;
    drag.ghost.style.transform = `translate(${Math.min(x + 14, innerWidth - drag.ghost.offsetWidth - 4)}px, ${y + 10}px)`;
    if (drag.over) drag.over.classList.remove("over");
    const under = document.elementFromPoint(x, y);
    const cell = under && under.closest(`.run-${otherSide(drag.side)} [data-r]`);
    drag.over = cell && this.element.contains(cell) ? cell : null;
    if (drag.over) drag.over.classList.add("over");
    // At the edge of the window the page scrolls, unless the pointer is where it wants to be.
    const step = drag.over ? 0 : y < EDGE ? -14 : y > innerHeight - EDGE ? 14 : 0;
    clearTimeout(drag.scrolling);
    if (step) {
      drag.scrolling = setTimeout(() => {
        scrollBy(0, step);
        if (this.drag === drag) this.follow(x, y);
      }, 16);
    }
  }

  pointermove(event) {
    const {drag} = this;
    if (!drag || event.pointerId !== drag.pointer) return;
    const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > FAR;
    if (!drag.on) {
      if (!far) return;
      if (drag.isTouch) { // a finger that moves at once scrolls
        this.endDrag();
        return;
      }
      this.startDrag(drag);
    }
    event.preventDefault();
    this.follow(event.clientX, event.clientY);
  }

  pointerup(event) {
    const {drag} = this;
    if (!drag || event.pointerId !== drag.pointer) return;
    const target = drag.on && drag.over ? this.placeOf(drag.over) : null;
    const wasOn = drag.on;
    this.endDrag();
    if (!wasOn) return;
    this.justDragged = true;
    setTimeout(() => (this.justDragged = false), 50);
    if (target) this.put(target);
    else this.letGo();
  }

  endDrag() {
    const {drag} = this;
    if (!drag) return;
    clearTimeout(drag.timer);
    clearTimeout(drag.scrolling);
    if (drag.ghost) drag.ghost.remove();
    if (drag.over) drag.over.classList.remove("over");
    document.body.classList.remove("dragging");
    removeEventListener("pointermove", drag.move);
    removeEventListener("pointerup", drag.up);
    removeEventListener("pointercancel", drag.cancel);
    removeEventListener("keydown", drag.keys, true);
    this.drag = null;
  }
}
