// A question about a text (which token, at which position) isn't asked about the next text.

// -> a short mark of a text, to tell texts apart
export function mark(text) {
  let hash = 5381;
  for (const letter of text) hash = (Math.imul(hash, 33) ^ letter.codePointAt(0)) >>> 0;
  return hash.toString(36);
}

// Remove these keys from a view's state if another text's mark is in it, under "of".
export function forgetOthers(state, text, keys) {
  const of = state.get("of", "");
  if (of && of !== mark(text)) state.set(Object.fromEntries(["of", ...keys].map(key => [key, null])));
}
