// Move through a training run and watch the heads form.

import {el} from "./dom.js";

export default {
  id: "checkpoints",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
