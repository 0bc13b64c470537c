// Elements. Text from outside (tokens, prompts) becomes text nodes, never HTML.

const SVG = "http://www.w3.org/2000/svg";

// el("button", {class: "big", onclick: f, "aria-label": "…", dataset: {row: 1}}, "text", child, …)
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") Object.entries(value).forEach(([k, v]) => element.style.setProperty(k, v));
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

// A token as people can see it: a space is ␣, a line break ⏎, nothing ∅.
export function tokenText(token) {
  if (token === "") return "∅";
  return token.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
             c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

// A number for display: 0.1234, -3.1e-7, 1,024
export function number(x, digits = 4) {
  if (x === null || x === undefined) return "–";
  if (!Number.isFinite(x)) return String(x).replace("Infinity", "∞");
  if (Number.isInteger(x)) return x.toLocaleString("en-US");
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e6) return x.toExponential(Math.max(1, digits - 2)).replace("-", "−").replace("e−", "e-").replace("e-", "e−").replace("e+", "e");
  return x.toFixed(Math.max(0, digits - Math.max(0, Math.floor(Math.log10(size))))).replace("-", "−");
}

export function percent(p, digits = 1) {
  if (p > 0 && p < 0.5 * 10 ** (-digits - 2)) return `<${(10 ** (-digits)).toFixed(digits)} %`;
  return `${(100 * p).toFixed(digits)} %`;
}

// How wide a text is in the figures' 12 px monospace font, in pixels: Chinese characters are wider.
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const letterWidth = letter => (WIDE.test(letter) ? 12.4 : 7.3);

export function textWidth(text) {
  return [...text].reduce((sum, letter) => sum + letterWidth(letter), 0);
}

// -> the text, with … for what doesn't fit into so many pixels
export function fitted(text, pixels) {
  if (textWidth(text) <= pixels) return text;
  let short = "", room = pixels - letterWidth("…");
  for (const letter of text) {
    room -= letterWidth(letter);
    if (room < 0) break;
    short += letter;
  }
  return `${short}…`;
}

// Draw a part of the page anew. What had the focus there has it again: the control of the same name,
// or, if its name has changed, the control in the same place.
const FOCUSABLE = "button, input, select, textarea, summary, a[href], [tabindex]";
const nameOf = element => element.getAttribute("aria-label") || element.title || element.textContent;
export function keepingFocus(root, draw) {
  const before = [...root.querySelectorAll(FOCUSABLE)], at = before.indexOf(document.activeElement);
  const name = at >= 0 && nameOf(before[at]);
  draw();
  if (at < 0 || root.contains(document.activeElement)) return;
  const after = [...root.querySelectorAll(FOCUSABLE)];
  const same = after.find(each => nameOf(each) === name) || after[at];
  if (same) same.focus({preventScroll: true});
}

let ids = 0;
export function newId(prefix = "id") {
  return `${prefix}-${++ids}`;
}
export {table} from "./table.js";
