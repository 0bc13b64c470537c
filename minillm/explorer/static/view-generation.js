// How the next token is chosen, and what the cache holds.

import {el} from "./dom.js";

export default {
  id: "generation",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
