// Take one step of the optimizer, see every number that changes, and undo it.

import {el} from "./dom.js";

export default {
  id: "training",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
