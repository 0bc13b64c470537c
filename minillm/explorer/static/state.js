// The state of the page is its address: #view=lens&text=…&lens.layer=2. Nothing else is kept.

const read = () => new URLSearchParams(location.hash.slice(1));

export function get(key, fallback = null) {
  const value = read().get(key);
  if (value === null) return fallback;
  if (typeof fallback === "number") return Number.isFinite(Number(value)) ? Number(value) : fallback;
  return value;
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
}
