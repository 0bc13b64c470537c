// The tokens so far and their alternatives, as a tree: whoever exchanges a token begins a branch.

export class Tree {
  // first: the ids of the text; node i is the child of node i - 1
  constructor(first) {
    this.nText = first.length;
    this.nodes = first.map((id, i) => ({id, parent: i - 1}));
  }

  // -> the child of `parent` with this id, which is made if there is none
  add(parent, id) {
    const known = this.nodes.findIndex(node => node.parent === parent && node.id === id);
    if (known >= 0) return known;
    this.nodes.push({id, parent});
    return this.nodes.length - 1;
  }

  extend(at, ids) {
    return ids.reduce((node, id) => this.add(node, id), at);
  }

  // -> list of the nodes from the root to `at`
  path(at) {
    const found = [];
    for (let node = at; node >= 0; node = this.nodes[node].parent) found.unshift(node);
    return found;
  }

  ids(at) {
    return this.path(at).map(node => this.nodes[node].id);
  }

  children(at) {
    return [...this.nodes.keys()].filter(node => this.nodes[node].parent === at);
  }

  get branches() {
    const parents = new Map();
    this.nodes.forEach(({parent}) => parents.set(parent, (parents.get(parent) || 0) + 1));
    return [...parents.values()].some(count => count > 1);
  }

  // the nodes beyond the text, as they stand in the page's address
  write() {
    return this.nodes.slice(this.nText).map(({id, parent}) => `${parent}:${id}`).join(",");
  }

  read(text) {
    for (const each of text ? text.split(",") : []) {
      const [parent, id] = each.split(":").map(Number);
      if (!Number.isInteger(id) || id < 0 || !(parent >= -1 && parent < this.nodes.length)) return;
      this.nodes.push({id, parent});
    }
  }
}

// A short name of a text and a model: a tree in the address belongs to one of them
export function fingerprint(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return (h >>> 0).toString(36);
}
