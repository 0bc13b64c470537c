// The state of the page is its address: #view=lens&text=…&lens.layer=2. Nothing else is kept.

let drawn = location.hash; // the address that the page shows; another one is on its way to be drawn

const read = () => new URLSearchParams(location.hash.slice(1));

export function get(key, fallback = null) {
  const value = read().get(key);
  if (value === null) return fallback;
  if (typeof fallback === "number") return Number.isFinite(Number(value)) ? Number(value) : fallback;
  return value;
}

export function isDrawn() {
  return location.hash === drawn;
}

export function nowDrawn() {
  drawn = location.hash;
}

// set({key: value}): null removes the key; push: a step for the browser's "back"
export function set(changes, {push = false} = {}) {
  const all = read();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined) all.delete(key);
    else all.set(key, String(value));
  }
  const hash = `#${all}`;
  if (hash === location.hash) return;
  if (push) history.pushState(null, "", hash);
  else history.replaceState(null, "", hash);
  nowDrawn();
}
