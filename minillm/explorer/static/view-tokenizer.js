// How the text becomes tokens, byte by byte and merge by merge.

import {el} from "./dom.js";

export default {
  id: "tokenizer",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
