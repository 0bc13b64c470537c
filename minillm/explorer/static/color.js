// Colors of values, from the page's own colors, so that they fit light and dark.

function channels(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hex = text.replace("#", "");
  return [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16));
}

let known = null;
export function themeChanged() {
  known = null;
}

function palette() {
  if (!known) known = {none: channels("--cell"), most: channels("--accent"), more: channels("--positive"), less: channels("--negative")};
  return known;
}

const mix = (a, b, share) => a.map((c, i) => Math.round(c + (b[i] - c) * share));

// -> [r, g, b] of a value between lo and hi; signed: 0 is the background, and the signs differ in color
export function rgb(value, lo, hi, signed = false) {
  const {none, most, more, less} = palette();
  if (!Number.isFinite(value)) return [128, 128, 128];
  if (signed) {
    const limit = Math.max(Math.abs(lo), Math.abs(hi)) || 1;
    const share = Math.min(1, Math.abs(value) / limit);
    return mix(none, value >= 0 ? more : less, share);
  }
  const share = hi > lo ? Math.min(1, Math.max(0, (value - lo) / (hi - lo))) : 0;
  return mix(none, most, share);
}

export function color(value, lo, hi, signed = false) {
  return `rgb(${rgb(value, lo, hi, signed).join(" ")})`;
}

// -> black or white, whichever is readable on [r, g, b]
export function inkOn([r, g, b]) {
  const linear = [r, g, b].map(c => c / 255).map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000000" : "#ffffff";
}

export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
