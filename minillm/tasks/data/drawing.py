"""Filling templates: how all generators make texts."""

import re

_SLOT = re.compile(r"\{(\w+)\}")


def pick(rng, items):
    """-> one of a sequence, drawn by the NumPy Generator `rng`"""
    return items[int(rng.integers(len(items)))]


def fill(rng, template, words):
    """-> `template` with each {slot} replaced by one of words[slot]; slots may hold slots

    The same slot twice gets two different words where there are enough.
    """
    used = {}

    def replace(match):
        name = match.group(1)
        options = [word for word in words[name] if word not in used.get(name, ())] or words[name]
        word = pick(rng, options)
        used.setdefault(name, []).append(word)
        return fill(rng, word, words)

    return _SLOT.sub(replace, template)


def sentence(text):
    """-> `text` with a capital letter at its beginning and one stop at its end"""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else f"{text}."


def with_article(text):
    """-> `text` in which "a" before a vowel is "an" """
    return re.sub(r"\b([aA]) (?=[aeiouAEIOU])", r"\1n ", text)


def split_sizes(n, valid=0.1, test=0.15):
    """-> {"train": …, "valid": …, "test": …}: numbers of examples, n in all, at least one each"""
    sizes = {"valid": max(1, round(valid * n)), "test": max(1, round(test * n))}
    return {"train": max(1, n - sum(sizes.values())), **sizes}


def generate_splits(n, rng, draw, key, sizes=None):
    """-> {"train": …, "valid": …, "test": …}: n different examples

    draw(rng, split) -> an example;  key(example): what a model is given. An example whose key was
    drawn before, in any split, is drawn again.
    sizes: those of the splits, in all n; default: split_sizes(n)

    Raises ValueError if a generator has no more different examples.
    """
    seen, splits = set(), {}
    for split, size in (sizes or split_sizes(n)).items():
        splits[split] = []
        for _ in range(size):
            for _ in range(1000):
                example = draw(rng, split)
                if key(example) not in seen:
                    break
            else:
                raise ValueError(f"examples is {n}, but the generator has no more than "
                                 f"{len(seen)} different ones")
            seen.add(key(example))
            splits[split].append(example)
    return splits
