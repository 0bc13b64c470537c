// One stop of the Tab key for many things to choose from: arrow keys move between them.

const STEPS = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1};

// Of the elements in `box` that match, only one is reached by Tab.
// move(element, key, all) -> where an arrow key leads, by default to the neighbor in the document's order
export function roving(box, selector, move = null) {
  const all = () => [...box.querySelectorAll(selector)];
  const only = chosen => all().forEach(each => each.setAttribute("tabindex", each === chosen ? "0" : "-1"));

  box.addEventListener("keydown", event => {
    const found = all(), at = found.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    let target = null;
    if (event.key === "Home") target = found[0];
    else if (event.key === "End") target = found[found.length - 1];
    else if (event.key in STEPS) target = move ? move(event.target, event.key, found) : found[at + STEPS[event.key]];
    else return;
    event.preventDefault();
    if (!target) return;
    only(target);
    target.focus();
  });
  box.addEventListener("focusin", event => {
    if (event.target.matches(selector)) only(event.target);
  });
  // after its elements were drawn anew: chosen, or the first, is the one that Tab reaches
  return (chosen = null) => only(chosen || all()[0]);
}
