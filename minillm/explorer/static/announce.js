// What a screen reader says: one polite live region for the whole page.

import {el} from "./dom.js";

export const liveRegion = el("div", {class: "unseen", "aria-live": "polite", role: "status"});

let last = 0;
export function announce(text) {
  clearTimeout(last);
  last = setTimeout(() => {
    liveRegion.textContent = text;
  }, 60);
}
