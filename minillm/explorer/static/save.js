// "Save as": every figure as SVG and PNG, every table as CSV, all numbers as JSON.

import {el} from "./dom.js";
import {t} from "./messages.js";
import {css} from "./color.js";

// -> <figure> with the element and a menu
// spec: {name, svg?: () => string, png?: () => canvas or Promise, json?: () => value, rows?: () => [[cell, …], …]}
export function saveable(element, spec) {
  const choices = [
    ["svg", "SVG", () => download(`${spec.name}.svg`, "image/svg+xml", spec.svg())],
    ["png", "PNG", async () => downloadUrl(`${spec.name}.png`, (await spec.png()).toDataURL("image/png"))],
    ["json", "JSON", () => download(`${spec.name}.json`, "application/json", JSON.stringify(plain(spec.json())))],
    ["rows", "CSV", () => download(`${spec.name}.csv`, "text/csv", csv(spec.rows()))],
  ].filter(([key]) => spec[key]);
  const menu = el("div", {class: "save-menu", role: "group", "aria-label": t("shell.save_as", {name: spec.name})},
    choices.map(([key, label, save]) => el("button", {type: "button", dataset: {save: key}, onclick: save}, label)));
  const details = el("details", {class: "save"}, el("summary", {title: t("shell.save_as", {name: spec.name}),
    "aria-label": t("shell.save_as", {name: spec.name})}, "⤓"), menu);
  details.addEventListener("keydown", event => {
    if (event.key === "Escape") {
      details.open = false;
      details.querySelector("summary").focus();
      event.stopPropagation();
    }
  });
  return el("figure", {class: "saveable", dataset: {name: spec.name}}, element, details);
}

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  downloadUrl(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function downloadUrl(name, url) {
  const link = el("a", {href: url, download: name.replace(/[^\w.-]+/g, "-")});
  document.body.append(link);
  link.click();
  link.remove();
}

// Typed arrays become lists; {shape, data} becomes nested lists.
function plain(value) {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  if (ArrayBuffer.isView(value.data) && Array.isArray(value.shape)) return nested(value.data, value.shape);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

function nested(data, shape) {
  if (shape.length < 2) return shape.length ? Array.from(data) : data[0];
  const size = data.length / shape[0];
  return Array.from({length: shape[0]}, (_, i) => nested(data.subarray(i * size, (i + 1) * size), shape.slice(1)));
}

// A cell that a spreadsheet would run as a formula gets a quote in front: tokens come from anywhere.
export function csv(rows) {
  const cell = value => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return rows.map(row => row.map(cell).join(",")).join("\n") + "\n";
}

const COPIED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity",
  "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "display"];

// -> a string: an <svg> element of the page as a file of its own, with the styles that it has on the page
export function svgText(element) {
  const copy = element.cloneNode(true);
  const originals = [element, ...element.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, i) => {
    const style = getComputedStyle(originals[i]);
    for (const name of COPIED) {
      const value = style.getPropertyValue(name);
      if (value) node.setAttribute(name, value);
    }
    node.removeAttribute("style");
    node.removeAttribute("tabindex");
  });
  const box = element.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", Math.round(box.width));
  copy.setAttribute("height", Math.round(box.height));
  const background = copy.ownerDocument.createElementNS("http://www.w3.org/2000/svg", "rect");
  background.setAttribute("width", "100%");
  background.setAttribute("height", "100%");
  background.setAttribute("fill", css("--paper"));
  copy.prepend(background);
  return new XMLSerializer().serializeToString(copy);
}

// -> Promise of a canvas with the picture of an <svg>
export function svgPicture(element, scale = 2) {
  const text = svgText(element);
  const box = element.getBoundingClientRect();
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = el("canvas", {width: Math.round(box.width * scale), height: Math.round(box.height * scale)});
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      resolve(canvas);
    };
    image.onerror = () => reject(new Error("the picture can't be drawn"));
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  });
}
