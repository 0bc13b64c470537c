// The controls of all views: native elements with labels.

import {el, newId} from "./dom.js";

export function button(label, onclick, {pressed = null, title = null, disabled = false, ...others} = {}) {
  return el("button", {type: "button", class: "button", title, disabled,
    "aria-pressed": pressed === null ? null : String(pressed), onclick, ...others}, label);
}

export function setPressed(element, pressed) {
  element.setAttribute("aria-pressed", String(pressed));
}

// options: [{value, label}, …] or strings
export function select(label, options, value, onchange) {
  const id = newId("select");
  const list = options.map(option => (typeof option === "object" ? option : {value: option, label: option}));
  const element = el("select", {id, onchange: () => onchange(element.value)},
    list.map(each => el("option", {value: each.value}, each.label)));
  element.value = String(value);
  return el("span", {class: "control"}, el("label", {for: id}, label), element);
}

export function slider(label, {min, max, step = 1, value, show = x => String(x)}, oninput) {
  const id = newId("slider");
  const output = el("output", {for: id}, show(value));
  const element = el("input", {id, type: "range", min, max, step, value, oninput: () => {
    output.textContent = show(Number(element.value));
    oninput(Number(element.value));
  }});
  return el("span", {class: "control"}, el("label", {for: id}, label), element, output);
}

export function field(label, value, onchange, {placeholder = "", type = "text", ...others} = {}) {
  const id = newId("field");
  const element = el("input", {id, type, value, placeholder, autocomplete: "off", spellcheck: "false",
    onchange: () => onchange(element.value), ...others});
  return el("span", {class: "control"}, el("label", {for: id}, label), element);
}

export function checkbox(label, checked, onchange) {
  const id = newId("check");
  const element = el("input", {id, type: "checkbox", checked, onchange: () => onchange(element.checked)});
  return el("span", {class: "control"}, element, el("label", {for: id}, label));
}

export function panel(title, ...children) {
  const id = newId("panel");
  return el("section", {class: "panel", "aria-labelledby": id}, el("h3", {id}, title), children);
}

export function grid(...children) {
  return el("div", {class: "grid"}, children);
}

export function row(...children) {
  return el("div", {class: "row"}, children);
}

export function note(...children) {
  return el("p", {class: "note"}, children);
}
