"""Products that nobody sells, as attributes and as a description of two or three sentences.

    type: armchair; brand: Velora; material: beech; price: low; feature: a padded cushion
    Velora presents a beech armchair. With a padded cushion, it is kind to any budget.

Everything is generated: categories with types, materials and features that go together, brands out
of syllables, colors, sizes, uses, countries, and a price band that the text puts in other words. A
description is an opening and one or two more sentences, each put together from templates. It
mentions every attribute, in the same words (the price in one of PRICES'), and no other value.

The test split draws half of its words from lists that the other splits never use, and all of its
sentences from templates that they never use; its brands are new, too. `Words` keeps the two apart.
In the other splits half of the words are coined, such as "brulost": a model that sees every
color a hundred times learns the list of colors by heart, and paints everything in one of them; a
word that comes only once has to be copied.
"""

import re
import zlib
from typing import NamedTuple

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick

ATTRIBUTES = ("type", "brand", "color", "material", "size", "use", "feature", "origin", "price")
WHAT = ("products that don't exist, described from templates; the test split has values, brands "
        "and sentences that training never shows")
HELD_OUT = 300  # at most, in valid and in test: writing takes longer than training


COINED = 0.5  # of the words in the values of the training split


class Words(NamedTuple):
    """Values or templates: those of all splits, and those of the test split alone."""

    common: list
    test: list

    @property
    def all(self):
        return [*self.common, *self.test]

    def draw(self, rng, split, coins=True):
        """Half of the test split's draws are words that the others never see; of theirs, half
        are no words at all, if it `coins` some.
        """
        share = rng.random()
        if split == "test":
            return pick(rng, self.test if share < 0.5 else self.common)
        if coins and share < COINED:
            word = coined_word(rng)
            return word.capitalize() if self.common[0][0].isupper() else word
        return pick(rng, self.common)

    def own(self, split):
        """-> those of a split that shares none with the others"""
        return self.test if split == "test" else self.common


def _words(text):
    """"a, b | c" -> Words(["a", "b"], ["c"])"""
    return Words(*([word.strip() for word in part.split(",")] for part in text.split("|")))


class Category(NamedTuple):
    types: Words
    materials: Words
    size: str  # with {} for a number
    range: tuple  # of the number
    parts: Words  # what has features


CATEGORIES = [
    Category(_words("chair, armchair, desk, bench, stool, bookcase, wardrobe, cabinet | sideboard, "
                    "footstool, daybed"),
             _words("oak, beech, pine, birch, walnut, bamboo, maple, plywood | teak, rattan, elm"),
             "{} cm", (30, 220),
             _words("armrest, drawer, backrest, cushion, hinge, shelf, leg | headrest, tray")),
    Category(_words("kettle, teapot, saucepan, mug, bowl, jug, frying pan, cutting board | "
                    "casserole, tureen, colander"),
             _words("stainless steel, cast iron, enamel, porcelain, stoneware, glass, copper, "
                    "ceramic | aluminum, pewter, earthenware"),
             "{} liters", (2, 12),
             _words("lid, spout, handle, rim, base, strainer, whistle | knob, stopper, scale")),
    Category(_words("jacket, coat, sweater, shirt, scarf, dress, skirt, cardigan | poncho, tunic, "
                    "waistcoat"),
             _words("wool, cotton, linen, silk, cashmere, fleece, denim, hemp | alpaca, velvet, "
                    "tweed"),
             "size {}", (32, 56),
             _words("collar, hood, pocket, zipper, belt, lining, cuff | button, hem, sleeve")),
    Category(_words("backpack, suitcase, handbag, wallet, satchel, toiletry bag, duffel bag | "
                    "briefcase, rucksack, purse"),
             _words("leather, canvas, nylon, suede, polyester, felt, jute | raffia, vinyl"),
             "{} liters", (3, 90),
             _words("strap, buckle, flap, compartment, sleeve pocket, divider, clasp | pouch, "
                    "keyring, mesh")),
    Category(_words("table lamp, floor lamp, lantern, chandelier, mirror, wall clock, vase | "
                    "sconce, candlestick, picture frame"),
             _words("brass, marble, concrete, rice paper, bronze, alabaster, wicker | quartz, "
                    "onyx, travertine"),
             "{} cm", (12, 190),
             _words("shade, dimmer, switch, stand, hook, cord, frame | bulb, bracket, finial")),
    Category(_words("watering can, flower pot, picnic basket, bird table, window box, trellis, "
                    "garden gate | birdhouse, wheelbarrow, sundial"),
             _words("zinc, terracotta, iron, willow, acrylic, plastic, cedar | seagrass, slate, "
                    "larch"),
             "{} cm", (25, 300),
             _words("roof, peg, rope, clip, net, latch, bolt | hose, canopy, spike")),
    Category(_words("skateboard, bicycle, helmet, scooter, surfboard, sled, tennis racket | "
                    "snowboard, canoe, kayak"),
             _words("carbon fiber, cork, titanium, rubber, foam, silicone, fiberglass | graphite, "
                    "neoprene, magnesium"),
             "{} cm", (20, 240),
             _words("grip, brake, bell, pedal, visor, fin, deck | paddle, saddle, reflector")),
    Category(_words("notebook, fountain pen, pencil case, calendar, photo album, paperweight, "
                    "bookmark | inkwell, diary, letter opener"),
             _words("recycled paper, parchment, cardboard, resin, ebony, horn, steel | papyrus, "
                    "vellum, rosewood"),
             "{} cm", (4, 42),
             _words("cover, ribbon, page, cap, nib, spine, ring | bookplate, tab, elastic band")),
]

HUES = _words("red, blue, green, black, white, gray, yellow, pink, purple, brown, beige, navy, "
              "turquoise, ivory, lavender, mustard, burgundy, charcoal, coral, amber, olive, "
              "apricot, plum, khaki | teal, crimson, indigo, magenta, lilac, ocher, russet")
TINTS = _words("pale, dark, deep, soft, bright, warm | dusty, smoky, muted")

PLACES = (_words("small, busy, quiet, cozy, modern, sunny, shared | narrow, rustic, crowded"),
          _words("kitchens, offices, balconies, bedrooms, gardens, classrooms, hallways, studios, "
                 "workshops, libraries | attics, verandas, dormitories"))
TIMES = (_words("long, short, rainy, cold, lazy, early, festive | windy, hectic, frosty"),
         _words("walks, evenings, weekends, journeys, mornings, holidays, meetings, nights | "
                "commutes, picnics, sleepovers"))
PEOPLE = (_words("young, growing, careful, patient, curious, restless | demanding, thrifty"),
          _words("families, students, travelers, beginners, collectors, cooks, gardeners, artists, "
                 "musicians | commuters, grandparents, hikers"))
USES = (PLACES, TIMES, PEOPLE)

QUALITIES = _words("removable, adjustable, folding, hidden, padded, rounded, reinforced, washable, "
                   "detachable, polished | swiveling, embossed, magnetic, braided")
NUMBERS = ("two", "three", "four", "five", "six")

COUNTRIES = _words("Portugal, Sweden, Denmark, Italy, Spain, Poland, Austria, France, Ireland, "
                   "Japan, Vietnam, India, Mexico, Peru, Canada, Morocco, Turkey, Greece, Finland, "
                   "Germany, Estonia, Hungary, Belgium, Thailand | Norway, Iceland, Croatia, "
                   "Ecuador, Nepal, Slovenia, Latvia")

# The price is the attribute that isn't copied: each band is told in one of these ways. The words in
# brackets belong to the sentence, the others to what the text has to say.
PRICES = {
    "low": _words("(is) affordable, (is) inexpensive, (has a) low price, (is) kind to any budget | "
                  "(has a) price that everybody can pay, (costs) next to nothing"),
    "medium": _words("(is) fairly priced, (has a) reasonable price, (is sold at a) fair price, "
                     "(is) sensibly priced | (is) moderately priced, (has a) price in the middle"),
    "high": _words("(is) luxurious, (is) exclusive, (is worth its) premium price, (is a) luxury | "
                   "(is the) top of the range, (costs) more than most"),
}

ONSETS = "b br c d dr f fl g gr h j k kl l m n p pr qu r s sk st t tr v w z bl cr sh th".split()
VOWELS = "a a e e i i o o u u ea io ou ia".split()
CODAS = ["", "", "", "l", "n", "r", "s", "m", "x", "nd", "rk", "st", "lt", "ck"]
HOUSES = ["", "", "", "", "", " Studio", " Works", " Living", " Supply"]

# Templates: {it} is the product with the attributes in front of its noun: "red oak chair". {a_it}
# has its article.
OPENINGS_BY = _words(  # with a brand
    "This {it} comes from {brand}, {brand} presents {a_it}, Here is {a_it} by {brand}, Meet the "
    "{it} from {brand}, With this {it} by {brand} you choose well, {brand} has made {a_it}, This "
    "is the {it} that {brand} is known for, Say hello to {a_it} by {brand}, The new {it} by "
    "{brand} is here, {brand} brings you {a_it}, You will enjoy this {it} from {brand}, {brand} "
    "knows how to make {a_it} | Discover the {it} by {brand}, Now in our shop: {a_it} from "
    "{brand}, Nobody makes {a_it} quite like {brand}, {brand} proudly shows {a_it}")
OPENINGS = _words(  # without
    "Here is {a_it} for every day, This is {a_it} with character, Meet {a_it} that lasts, You will "
    "enjoy this {it}, Looking for {a_it}? Here it is, Say hello to {a_it}, This {it} is a good "
    "choice, Treat yourself to {a_it}, Our new {it} has arrived | Discover {a_it} worth keeping, "
    "Now in our shop: {a_it}, You have found {a_it} to love, Everybody needs {a_it}")
SUBJECTS = _words("It, The {type}, This piece, This model, Our {type} | The product, This design")

# What an attribute says as a predicate, and in front of a sentence.
PREDICATES = {
    "color": _words("comes in {}, is finished in {}, shines in {} | is kept in {}, arrives in {}"),
    "material": _words("is made of {}, consists of {}, is crafted from {} | is built from {}, uses "
                       "nothing but {}"),
    "cm": _words("measures {}, has a size of {} | extends over {}, comes to {}"),
    "liters": _words("holds {}, has room for {} | contains {}, takes {}"),
    "size": _words("comes in {}, is cut in {} | is sold in {}, fits {}"),
    "use": _words("is made for {}, suits {}, is ideal for {}, works well for {} | was designed "
                  "with {} in mind, is right for {}"),
    "feature": _words("has {}, offers {}, comes with {}, includes {} | is equipped with {}, boasts "
                      "{}"),
    "origin": _words("is made in {}, comes from {}, is produced in {} | was born in {}, "
                     "reaches you from {}"),
}
FRONTS = {
    "material": _words("Made of {}, Crafted from {} | Built from {}"),
    "use": _words("Made for {}, Ideal for {}, Perfect for {} | Designed with {} in mind"),
    "feature": _words("With {}, Thanks to {} | Equipped with {}"),
    "origin": _words("Made in {}, Produced in {} | Born in {}"),
}


def generate(n, seed):
    """-> {"train": […], "valid": […], "test": […]}: n examples together

    Each is {"attributes": "type: chair; color: red", "description": …}; the attributes stand in
    random order, and no two examples have the same.
    """
    def draw(rng, split):
        attributes = draw_attributes(rng, split)
        return {"attributes": "; ".join(map(": ".join, attributes.items())),
                "description": describe(attributes, rng, split)}

    return generate_splits(n, np.random.default_rng(seed), draw,
                           key=lambda example: frozenset(example["attributes"].split("; ")),
                           sizes=sizes(n))


def sizes(n):
    """-> {"train": …, "valid": …, "test": …}, n in all"""
    held_out = min(max(1, n // 8), HELD_OUT)
    return {"train": max(1, n - 2 * held_out), "valid": held_out, "test": held_out}


def draw_attributes(rng, split):
    """-> {name: value} of a new product, the type and two or more others, in random order"""
    category = CATEGORIES[rng.integers(len(CATEGORIES))]
    first, second = USES[rng.integers(len(USES))]
    values = {
        "type": category.types.draw(rng, split),
        "brand": _brand(rng, split),
        "color": _color(rng, split),
        "material": category.materials.draw(rng, split),
        "size": category.size.format(rng.integers(*category.range)),
        "use": f"{first.draw(rng, split)} {second.draw(rng, split)}",
        "feature": _feature(category.parts.draw(rng, split), rng, split),
        "origin": COUNTRIES.draw(rng, split),
        "price": ["low", "medium", "high"][rng.integers(3)],
    }
    while True:
        given = ["type"] + [name for name in ATTRIBUTES[1:] if rng.random() < 0.5]
        if len(given) > 2:
            return {name: values[name] for name in rng.permutation(given).tolist()}


def describe(attributes, rng, split):
    """-> a description of `attributes`, {name: value}, from the templates of `split`"""
    left = dict(attributes)
    noun = left.pop("type")
    it = " ".join([left.pop(name) for name in ("color", "material")
                   if name in left and rng.random() < 0.6] + [noun])
    openings = OPENINGS_BY if "brand" in left else OPENINGS
    sentences = [pick(rng, openings.own(split)).format(
        it=it, a_it=f"{article(it)} {it}", brand=left.pop("brand", ""))]
    names = rng.permutation(list(left)).tolist() if left else []
    cut = (len(names) + 1) // 2 if len(names) > 3 else len(names)
    for part in filter(None, (names[:cut], names[cut:])):
        sentences.append(_sentence({name: left[name] for name in part}, noun, rng, split))
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)


def _sentence(attributes, noun, rng, split):
    """-> "Made in Spain, this piece comes in red and has two drawers", of any attributes"""
    left = dict(attributes)
    fronted = [name for name in left if name in FRONTS]
    front = ""
    if fronted and len(left) > 1 and rng.random() < 0.5:
        name = pick(rng, fronted)
        front = pick(rng, FRONTS[name].own(split)).format(left.pop(name)) + ", "
    subject = pick(rng, SUBJECTS.own(split)).format(type=noun)
    subject = subject[0].lower() + subject[1:] if front else subject
    *parts, last = [_predicate(name, value, rng, split) for name, value in left.items()]
    return f"{front}{subject} {' and '.join(filter(None, [', '.join(parts), last]))}"


def _predicate(name, value, rng, split):
    if name == "price":
        return re.sub("[()]", "", pick(rng, PRICES[value].own(split)))
    if name == "size":  # "size 38", "60 cm" or "3 liters"
        name = value.split()[1] if value[0].isdigit() else "size"
    return pick(rng, PREDICATES[name].own(split)).format(value)


def article(words):
    return "an" if words[0].lower() in "aeiou" else "a"


def _brand(rng, split):
    """-> an invented name. Every name belongs to one split: that of its hash, or the others."""
    while True:
        name = "".join(pick(rng, ONSETS) + pick(rng, VOWELS)
                       for _ in range(rng.integers(2, 4))) + pick(rng, CODAS)
        name = name.capitalize()
        if (zlib.crc32(name.encode()) % 8 == 0) == (split == "test"):
            return name + pick(rng, HOUSES)


def coined_word(rng):
    """-> a word that doesn't exist, such as brulost"""
    word = "".join(pick(rng, ONSETS) + pick(rng, VOWELS) for _ in range(rng.integers(1, 4)))
    return word + pick(rng, CODAS)


def _color(rng, split):
    hue = HUES.draw(rng, split)
    return f"{TINTS.draw(rng, split)} {hue}" if rng.random() < 0.4 else hue


def _feature(part, rng, split):
    """-> such as: a folding tray, two folding trays"""
    quality = QUALITIES.draw(rng, split)
    if rng.random() < 0.5:
        return f"{article(quality)} {quality} {part}"
    plural = part + ("es" if part.endswith(("s", "sh", "ch")) else "s")
    return f"{pick(rng, NUMBERS)} {quality} {plural.replace('shelfs', 'shelves')}"


def _known():
    """-> {attribute: list of words that a description uses for its values only}"""
    return {
        "type": [value for category in CATEGORIES for value in category.types.all],
        "color": HUES.all,
        "material": [value for category in CATEGORIES for value in category.materials.all],
        "use": [noun for _, nouns in USES for noun in nouns.all],
        "feature": [part for category in CATEGORIES for part in category.parts.all],
        "origin": COUNTRIES.all,
    }


# What a description must not mention unless it is given: see tasks/coverage.py.
KNOWN = _known()
# The forms in which a value counts as mentioned, where they aren't the value itself.
FORMS = {("price", band): [re.sub(r"\(.*?\) ", "", form) for form in forms.all]
         for band, forms in PRICES.items()}
