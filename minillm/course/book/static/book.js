// Punctuation stays on the line of the formula that it touches.
function keepPunctuation() {
  for (const formula of document.querySelectorAll("span.math")) {
    const [before, after] = [formula.previousSibling, formula.nextSibling];
    const opening = before?.nodeType === Node.TEXT_NODE && before.data.match(/[(\[“‘]+$/)?.[0];
    const closing = after?.nodeType === Node.TEXT_NODE && after.data.match(/^[^\s\w]+/)?.[0];
    if (!opening && !closing) continue;
    const together = document.createElement("span");
    together.className = "together";
    formula.replaceWith(together);
    if (opening) before.data = before.data.slice(0, -opening.length);
    if (closing) after.data = after.data.slice(closing.length);
    together.append(opening || "", formula, closing || "");
  }
}

// A figure shrinks to three quarters at most, so that its letters stay readable; then it scrolls.
function fitFigures() {
  for (const figure of document.querySelectorAll("article p > img")) {
    const room = figure.parentElement.clientWidth, full = figure.naturalWidth;
    figure.style.width = full ? `${Math.max(0.75 * full, Math.min(full, room))}px` : "";
  }
}

window.addEventListener("load", fitFigures);
window.addEventListener("resize", fitFigures);

// On paper nothing is folded.
let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const details of unfolded) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
});

// A link to a place inside something folded unfolds it.
function unfoldTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
}

window.addEventListener("hashchange", unfoldTarget);
window.addEventListener("DOMContentLoaded", () => {
  keepPunctuation();
  unfoldTarget();
});
