// Which tokens speak for the answer: three estimates beside the measurement.

import {el} from "./dom.js";

export default {
  id: "attribution",
  async render(root) {
    root.append(el("p", {class: "note"}, "…"));
  },
};
