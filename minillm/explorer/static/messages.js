// All words of the page, in two languages, from one file.

let messages = {};
let language = "en";

export function useMessages(all) {
  messages = all;
}

export function setLanguage(code) {
  language = code === "zh" ? "zh" : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
}

export function getLanguage() {
  return language;
}

// t("lens.after", {n: 3}): the message with {n} filled in;  {n|token|tokens}: the first word if n is 1
export function t(key, values = {}) {
  const [block, ...rest] = key.split(".");
  const found = messages[block] && messages[block][rest.join(".")];
  if (!found) return key;
  return (found[language] || found.en)
    .replace(/\{(\w+)\|([^|}]*)\|([^|}]*)\}/g, (all, name, one, many) => (String(values[name]) === "1" ? one : many))
    .replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
}
