// What the model would say if it ended after each block.

import {el} from "./dom.js";

export default {
  id: "lens",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
