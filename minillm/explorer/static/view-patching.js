// Move a value of one run into another and see what becomes of the answer.

import {el} from "./dom.js";

export default {
  id: "patching",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
