// The model itself, from the whole down to one number, forward and backward.

import {el} from "./dom.js";

export default {
  id: "graph",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
