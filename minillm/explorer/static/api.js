// Questions to the server, or to the answers that a page without a server contains.

import {t} from "./messages.js";

const TYPES = {float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array, uint16: Uint16Array};

const contained = document.getElementById("answers");
const answers = contained ? JSON.parse(contained.textContent) : null;
export const isOffline = answers !== null;
export const offlineFacts = answers ? answers.facts : null;

export class Offline extends Error {
  offline = true;
}

function gone(error) {
  throw error.name === "AbortError" ? error : new Error(t("shell.gone"));
}

// -> Promise of the decoded answer of the view `name`
export async function ask(name, fields = {}, {report = null, signal = null} = {}) {
  if (answers) {
    const key = canonical([name, fields]);
    if (key in answers.answers) return decode(answers.answers[key]);
    throw new Offline(key);
  }
  const response = await fetch(`api/${name}`, {
    method: "POST", signal, headers: {"Content-Type": "application/json"}, body: JSON.stringify(fields),
  }).catch(gone);
  const kind = response.headers.get("Content-Type") || "";
  if (kind.startsWith("application/x-ndjson")) return readLines(response, report);
  if (!kind.startsWith("application/json")) throw new Error((await response.text()).trim() || response.statusText);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return decode(answer);
}

async function readLines(response, report) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read().catch(gone);
    const lines = (rest + (value || "")).split("\n");
    rest = lines.pop();
    for (const line of lines.map(each => JSON.parse(each))) {
      if ("error" in line) throw new Error(line.error);
      if ("answer" in line) return decode(line.answer);
      if (report) report(...line.progress, decode(line.partial));
    }
    if (done) throw new Error(t("shell.gone"));
  }
}

// Arrays become {shape, data}, with data a typed array.
export function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if ("data" in value && "dtype" in value && "shape" in value) {
    const bytes = Uint8Array.from(atob(value.data), c => c.charCodeAt(0));
    return {shape: value.shape, data: new TYPES[value.dtype](bytes.buffer)};
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, decode(each)]));
}

// The same text for the same question, whatever the order of its fields: the key of an answer
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    const fields = Object.keys(value).filter(k => value[k] !== undefined).sort();
    return `{${fields.map(k => `${JSON.stringify(k)}:${canonical(value[k])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}
