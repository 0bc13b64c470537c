// Where each head looks, and why: all heads at once, or one of them down to each dimension.

import {el} from "./dom.js";

export default {
  id: "attention",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
