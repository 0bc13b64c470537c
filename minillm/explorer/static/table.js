// Tables of numbers, sortable and savable.

import {el, append, number} from "./dom.js";
import {saveable} from "./save.js";
import {t} from "./messages.js";

// headings: [string, …];  rows: [[string | number | node, …], …]
// caption: a heading of its own;  onrow(index);  name: adds "save as";  sortable: a click on a heading sorts
// text(cell): what a node is in the saved file
export function table(headings, rows, {caption = null, onrow = null, name = null, sortable = false, digits = 4} = {}) {
  const body = el("tbody");
  let order = rows.map((_, i) => i);
  const cellOf = cell => el("td", {class: typeof cell === "number" ? "numeric" : null},
    typeof cell === "number" ? number(cell, digits) : cell);

  function draw() {
    body.replaceChildren(...order.map(i => {
      const line = el("tr", {dataset: {row: i}}, rows[i].map(cellOf));
      if (onrow) {
        line.tabIndex = 0;
        line.classList.add("choosable");
        line.addEventListener("click", () => onrow(i));
        line.addEventListener("keydown", event => {
          if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            onrow(i);
          }
        });
      }
      return line;
    }));
  }

  let sorted = null;
  const heads = headings.map((heading, column) => {
    const cell = el("th", {scope: "col"});
    append(cell, [sortable ? el("button", {type: "button", class: "sort", onclick: () => sortBy(column)}, heading) : heading]);
    return cell;
  });

  function sortBy(column) {
    const down = sorted !== column;
    sorted = down ? column : null;
    const value = i => textOf(rows[i][column]);
    order.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const difference = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return down ? -difference : difference;
    });
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
    draw();
  }

  draw();
  const element = el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption || name || t("shell.table")},
    el("table", {}, caption && el("caption", {}, caption), el("thead", {}, el("tr", {}, heads)), body));
  if (!name) return element;
  return saveable(element, {name, rows: () => [headings.map(textOf), ...rows.map(row => row.map(textOf))],
    json: () => rows.map(row => Object.fromEntries(row.map((cell, i) => [textOf(headings[i]), textOf(cell)])))});
}

function textOf(cell) {
  return cell instanceof Node ? cell.textContent : cell;
}
