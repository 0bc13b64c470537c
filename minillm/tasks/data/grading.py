"""Generated answers of students to questions of a tutoring exercise, with the key and a grade.

    question  What does the causal mask do?
    key       It hides the tokens that come later, and it sets their scores to minus infinity.
    answer    I think it hides the tokens that come earlier.                         -> 0, wrong
    answer    It covers the tokens that come later.                                  -> 1, partly
    answer    It gives later tokens a score of minus infinity and hides them.        -> 2, right

The key states two facts. An answer states some of them, in the key's words or in others, and some
things that are wrong: a fact's negation, its opposite (later, earlier), or what is true of another
thing. The grade is 2 if both facts are there and nothing is wrong, 1 if one is there, or both
beside something wrong, else 0.

The things that are asked about, of this course and of science at school, are divided among the
splits, and so are the phrasings of questions and answers. So the test asks about things of which
the model has seen no answer: it has to compare the answer with the key. So that it learns this, and
not by heart what is true, most training examples are about facts that nobody could know: put
together from the verb of one fact and the rest of another, or from a pattern and any two nouns, and
then many of their words are disguised, everywhere in the example by the same coined word. However
strange the key, it decides:

    key       It vrunts scores into positive dolps, and it gives off plimmer.
    answer    In my opinion, it makes positive dolps of the scores.                  -> 1, partly
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick

WHAT = ("answers of invented students to 80 questions, generated from patterns; the scores say "
        "nothing about real students")
MIXED = 0.45  # of the training examples have facts that are put together from others
INVENTED = 0.4  # have facts from patterns; the rest are left as they are
DISGUISED = 0.7  # of the examples with such facts have coined words
COINED = 0.5  # of the words that may be disguised are, in these
N_COINED = 400  # a fixed list, so that a bag of words has an end
GRADES = ("0", "1", "2")  # wrong, partly right, right


class Thing(NamedTuple):
    """A thing to ask about, and two facts, each in two wordings that begin with a verb."""

    name: str
    facts: tuple  # ((wording of the key, another wording), (…, …))


# name: wording of the key / other wording; the second fact, wording / other wording
_COURSE = """
softmax:
    turn scores into positive weights / make positive weights of the scores;
    make the weights sum to one / give weights whose sum is one
attention:
    mix the values of all tokens / take a weighted mean of the values;
    compare queries with keys / get its weights from queries and keys
layer norm:
    subtract the mean of each vector / move the mean of a vector to zero;
    divide by the standard deviation / scale each vector to a standard deviation of one
a residual connection:
    add the input to the output / return the sum of input and output;
    let the gradient pass unchanged / carry the gradient back without a change
the feed-forward network:
    treat each token alone / work on every token by itself;
    make the vectors wide and then narrow / widen a vector before narrowing it
dropout:
    set random numbers to zero / replace random numbers by zero;
    work only during training / be switched off after training
the causal mask:
    hide the tokens that come later / cover later tokens;
    set their scores to minus infinity / give them a score of minus infinity
the embedding table:
    give each token a vector / map every token to a vector;
    hold one row for each token / have as many rows as there are tokens
the position table:
    tell the model the order of the tokens / show where each token stands;
    add a vector to each embedding / change each embedding by adding a vector
cross-entropy:
    measure how surprised the model is / say how much the right token surprises the model;
    get smaller when the right token is more likely
        / fall as the probability of the right token grows
the tokenizer:
    cut text into pieces / split a text into small parts;
    give each piece a number / replace every piece by its number
byte-pair encoding:
    join the most frequent pair of neighbors / merge neighbors that are most often together;
    start from single bytes / begin with the bytes of the text
WordPiece:
    take the longest piece that fits / use the longest token that matches;
    mark the pieces inside a word / put a sign before pieces that continue a word
the temperature:
    divide the scores before the softmax / scale the logits by a division;
    make samples more varied when it is high / give less predictable text when it is high
beam search:
    keep several beginnings at once / follow more than one beginning;
    drop the least likely ones / throw away beginnings with a low probability
greedy decoding:
    choose the most likely token / take the token with the highest score;
    give the same text each time / write the same text at every try
the key-value cache:
    store the keys and values of earlier tokens / remember old keys and values;
    save time when text is generated / make generating faster
Adam:
    keep a running mean of the gradient / average the gradient over many steps;
    give each weight its own step size / use a separate step size for every weight
warm-up:
    start with a small learning rate / begin with small steps;
    raise the rate little by little / let the rate grow slowly
gradient clipping:
    limit the length of the gradient / make long gradients shorter;
    keep the direction of the gradient / leave its direction as it is
weight decay:
    shrink all weights at each step / pull every weight toward zero;
    work against overfitting / help when a model would overfit
BERT:
    read a text in both directions / see the words on both sides;
    predict masked tokens / fill in the words behind a mask
GPT:
    read a text from left to right / look only at earlier words;
    predict the next token / guess which token follows
multi-head attention:
    split the vectors into several heads / divide each vector among the heads;
    let each head look elsewhere / allow heads to look at different words
rotary encoding:
    turn queries and keys by an angle / rotate keys and queries;
    make scores depend on the distance / let only the distance matter for a score
the encoder:
    read the whole source text / see all words of the source;
    hand its vectors to the decoder / give the decoder what it has read
the decoder:
    write the translation word by word / produce one word after another;
    look at the encoder's vectors / read what the encoder returns
label smoothing:
    take a little probability from the right token / lower the target of the right token;
    keep the model from being too sure / make the model less certain
backpropagation:
    apply the chain rule / multiply derivatives along the way;
    go from the loss to the inputs / run backward from the loss
the learning rate:
    set the size of each step / say how far a step goes;
    make training unstable when it is too large / let the loss explode when it is too high
perplexity:
    be the exponential of the mean loss / come from the mean loss by the exponential;
    count equally likely choices / say among how many equal choices the model hesitates
early stopping:
    end training when the validation loss rises / stop once the validation loss gets worse;
    keep the best weights so far / save the weights with the lowest loss
a checkpoint:
    store all weights of the model / hold every weight in a file;
    let training continue later / allow us to go on with the training
the validation set:
    stay out of the training / be hidden during training;
    show how well the model generalizes / measure the model on unseen text
the vocabulary:
    list all tokens / contain every token that is known;
    fix the size of the output / determine how many scores come out
quantization:
    store weights with fewer bits / keep each weight in less memory;
    lose a little accuracy / make the results slightly less exact
LoRA:
    freeze the old weights / leave the pretrained weights as they are;
    train two small matrices / learn a product of two thin matrices
the pooler:
    take the vector of the first token / read only the first position;
    apply a tanh to it / squeeze it with a tanh
overfitting:
    learn the training text by heart / memorize the training data;
    do badly on new text / fail on text that it has not seen
a batch:
    hold several examples at once / contain more than one example;
    make the gradient less noisy / give a smoother gradient
"""
_SCIENCE = """
the heart:
    pump blood through the body / push the blood around;
    have four chambers / own four chambers
the lungs:
    take in oxygen / bring oxygen into the blood;
    give off carbon dioxide / remove carbon dioxide
the kidneys: filter the blood / clean the blood; make urine / send waste out as urine
the stomach:
    break down food with acid / use acid to digest food;
    pass the food to the gut / hand food on to the gut
the skin:
    protect the body / keep germs out of the body;
    keep the temperature steady / help the body to stay at one temperature
a root:
    take up water from the soil / draw water out of the ground;
    hold the plant in place / fix the plant in the soil
a leaf:
    catch the light of the sun / collect sunlight;
    make sugar for the plant / produce the sugar of a plant
photosynthesis:
    use light to make sugar / build sugar with the energy of light;
    release oxygen / give oxygen to the air
evaporation:
    turn water into gas / make vapor of a liquid;
    cool the surface / take heat from the surface
gravity:
    pull objects toward each other / draw masses together;
    grow weaker with distance / get smaller when the distance grows
friction: slow down moving things / brake whatever moves; turn motion into heat / make things warm
a magnet:
    attract iron / pull things made of iron;
    have two poles / own a north pole and a south pole
the moon:
    circle the earth in a month / go around the earth once a month;
    reflect the light of the sun / shine by sunlight only
a comet:
    consist of ice and dust / be made of dust and ice;
    grow a tail near the sun / show a tail when it comes close to the sun
an atom:
    have a small heavy nucleus / carry its mass in the nucleus;
    contain electrons in shells / hold electrons around it
an electron:
    carry a negative charge / be charged negatively;
    weigh less than a proton / be lighter than a proton
sound:
    travel as waves in the air / move through air in waves;
    need something to travel in / fail to pass through empty space
light:
    travel faster than sound / move more quickly than sound;
    move in straight lines / spread along straight lines
a lens:
    bend the rays of light / change the direction of rays;
    collect the rays in one point / focus the light
a battery:
    store energy in chemicals / hold chemical energy;
    drive a current through a wire / make electrons flow in a wire
rust:
    form when iron meets water / appear on wet iron;
    need oxygen to form / take oxygen from the air
yeast: eat sugar / live on sugar; make bubbles of gas in the dough / let the dough rise
a volcano:
    bring molten rock to the surface / let lava come out;
    form mountains of ash and lava / build a mountain of lava
an earthquake:
    happen when plates slip / come from plates that move suddenly;
    send waves through the ground / shake the ground with waves
rain:
    fall from clouds / drop out of the clouds;
    bring water back to the ground / return water to the soil
the seasons:
    come from the tilt of the axis / be caused by the tilted axis;
    differ between north and south / be opposite in the north and the south
a whale:
    breathe air with lungs / come up to breathe air;
    feed its young with milk / give milk to its young
a bat: find its way by echoes / hear echoes to find the way; fly at night / hunt in the dark
a bee:
    carry pollen between flowers / bring pollen from flower to flower;
    make honey in the hive / produce honey
a spider: have eight legs / walk on eight legs; catch insects in a web / trap insects with a web
a fish: breathe with gills / take oxygen from water with gills; swim with fins / move with its fins
ice: float on water / swim on top of water; melt at zero degrees / become water at zero degrees
an acid: taste sour / have a sour taste; turn litmus red / color litmus red
salt:
    dissolve in water / disappear in water;
    lower the freezing point of water / make water freeze later
copper: conduct electricity well / let a current pass easily; have a red color / look reddish
the ozone layer:
    stop the ultraviolet light / hold back ultraviolet rays;
    lie high above the ground / be far up in the air
a virus:
    need a cell to multiply / use other cells to make copies;
    be smaller than bacteria / have a smaller size than bacteria
a vaccine:
    train the immune system / prepare the body for a germ;
    protect against one disease / keep people from getting a disease
a lever: make a force larger / increase a force; turn about a fixed point / rotate around a point
a thermometer:
    measure the temperature / show how warm it is;
    use a liquid that expands / contain a liquid that grows with heat
"""
# Facts of the training split with any two nouns.
_PATTERNS = """
turn {a} into {b} / make {b} of {a}; store {a} in {b} / keep {a} inside {b};
release {a} when it meets {b} / give off {a} as soon as it touches {b};
consist of {a} and {b} / be made of {b} and {a}; grow near {a} / be found close to {a};
feed on {a} / live on {a}; protect {a} from {b} / keep {b} away from {a};
carry {a} to {b} / bring {a} over to {b};
measure the {a} of {b} / show how much {a} there is in {b};
separate {a} from {b} / take {a} out of {b}; become {a} in {b} / change to {a} when there is {b};
be larger than {a} / have a larger size than {a}; be faster than {a} / move faster than {a};
need {a} to work / not work without {a}; contain more {a} than {b} / hold more {a} than {b};
repair {a} with {b} / use {b} to mend {a}; sink in {a} / fall to the bottom of {a};
join {a} and {b} / connect {a} with {b}; cover {a} with {b} / put {b} on top of {a};
lose {a} at night / give up {a} during the night; have four {a} / own four {a};
get heavier with {a} / weigh more when there is {a}; mix {a} with {b} / stir {b} into {a};
count the {a} before {b} / say how many {a} come before {b}; hide {a} / make {a} invisible;
compare {a} with {b} / look for differences between {a} and {b}; last as long as {a} / end with {a};
raise the {a} of {b} / let the {a} of {b} grow; stop {a} / bring {a} to an end;
choose the highest {a} / take the {a} that is highest; shine like {a} / be as bright as {a};
split {a} into {b} / divide {a} so that {b} results; cause {a} / lead to {a};
throw away old {a} / drop {a} that is old; begin with {a} / have {a} at the start;
move along {a} / follow {a}; filter {a} / clean {a}; send {a} through {b} / let {a} pass {b};
collect {a} in one place / gather {a} at one point; add {a} to {b} / give {b} some {a};
predict the next {a} / guess which {a} follows; make {a} weaker / let {a} lose strength;
happen when {a} meets {b} / come from {a} that hits {b}; learn from {a} / be taught by {a};
produce {a} from {b} / use {b} for making {a}; sleep under {a} / rest below {a};
smell of {a} / have the smell of {a}; help against {a} / work against {a};
replace {a} by {b} / put {b} where {a} was; remember first {a} / store {a} that comes first
"""
_NOUNS = """
sand, iron, glass, milk, smoke, clay, wool, pollen, amber, coal, steam, silver, sugar, vinegar,
moss, feathers, seeds, bones, wires, numbers, letters, colors, stones, waves, planets, clouds,
roots, shells, engines, pumps, bubbles, crystals, tunnels, winter, summer, pressure, heat, power,
noise, memory, rhythm, grammar, paper, rubber, oil, wax, pepper, cotton, chalk, foam, snow, mud,
gold, tin, nerves, muscles, eggs, insects, mice, horses, forests, rivers, islands, deserts, bridges,
wheels, sensors, signals, programs, errors, samples, columns, vectors, matrices, sentences, answers,
images, labels, queues, copies, signs, shadows, mirrors, needles, circles, corners, gaps, threads,
rings
"""
# The test asks about the last of each list, the validation about those before.
_SIZES = {"train": slice(0, 28), "valid": slice(28, 32), "test": slice(32, 40)}

_OPPOSITES = """
later earlier, first last, most least, large small, larger smaller, long short, longer shorter,
high low, highest lowest, positive negative, more less, add subtract, multiply divide, random fixed,
wider narrower, fast slow, faster slower, before after, next previous, old new, heavy light,
lighter heavier, weaker stronger, cool heat, attract repel, night day, red blue, north south,
raise lower, shrink grow, join separate, start end, keep lose, store forget, several single,
hide show, with without, zero one, two five, four three, eight six, all no, both no
"""
OPPOSITES = dict(pair.split() for pair in _OPPOSITES.split(","))
OPPOSITES.update({other: word for word, other in OPPOSITES.items() if other not in ("no", "light")})

# What `disguised` leaves: opposites, negations, and the words of every sentence.
_KEPT = set(OPPOSITES) | set("""
be have do go give make take not no never it the a an of to and that is are in on its their them
they as which for by from at into than when where there only more less how through out
""".split())
_ONSETS = "b br d dr f fl g gl h j k kl l m n p pl qu r s sk sl st t tr v w z vr".split()
_CODAS = "b d g k l lp m mm n nt p r rk rt sk st t tt v x".split()

QUESTIONS = {
    "train": ("What does {x} do?", "Say two things about {x}.", "What do you know about {x}?",
              "Explain {x} in one sentence.", "Why is {x} important?", "Describe {x}.",
              "What is special about {x}?", "What have you learned about {x}?",
              "Tell me what {x} is good for.", "How does {x} work?"),
    "valid": ("Explain what {x} does.",),
    "test": ("What do you know about what {x} does?", "Describe {x} in one sentence.",
             "Say what is important about {x}."),
}
# {1} and {2} are facts with their subjects.
_OPENERS = (
    "", "", "I think ", "I think that ", "We learned that ", "It is true that ", "Well, ",
    "The book says that ", "I am sure that ", "My answer: ", "As far as I know, ", "Probably ",
    "In my opinion, ", "The teacher said that ", "I remember that ", "Everybody knows that ",
    "Of course ", "I would say that ", "I have read that ", "As we have seen, ", "Perhaps ",
    "I guess that ", "If I remember well, ", "Clearly, ", "What I know is that ",
)
_FIRST = ("First, ", "To begin with, ", "First of all, ", "For one thing, ", "On the one hand ",
          "Two things: ", "To start, ")
_JOINS = (
    ", and ", ". ", " and also ", ". Also, ", ". Besides, ", ", and that ", " and that ", "; ",
    ", and I think ", ". Second, ", ", and second, ", ", and moreover ", ". In addition, ",
    ". Then ", ", and then ", ". What is more, ", ". I also know that ", ", but also ",
    ". Apart from that, ", ", and at the same time ", ". Moreover, ", ", on the other hand ",
)
_ENDINGS = ("", "", "", ", and that is all I know", ", I think", ", as we learned", ", I guess",
            ", if I am right", ", as the book says", ", and this is important",
            ", as far as I know", ", that is all",
            ", that is what the teacher said")
_HELD_OUT = {
    "both": {"valid": ("I believe that {1}, and that {2}.",),
             "test": ("I think {1}. Also, {2}.", "{1}, and besides {2}.",
                      "First, {1}, and then {2}.")},
    "alone": {"valid": ("I believe that {1}.",),
              "test": ("As far as I think, {1}.", "{1}, that is what I know.", "I know that {1}.")},
}


def _phrasings(kind, made):
    """-> {"train": the made phrasings but those that are held out, "valid": …, "test": …}"""
    held_out = _HELD_OUT[kind]
    return {"train": tuple(one for one in made
                           if one not in held_out["valid"] + held_out["test"]), **held_out}


BOTH = _phrasings("both", [f"{opener}{{1}}{join}{{2}}{ending}." for opener in _OPENERS + _FIRST
                           for join in _JOINS for ending in _ENDINGS])
ALONE = _phrasings("alone", [f"{opener}{{1}}{ending}." for opener in _OPENERS
                             for ending in _ENDINGS])
NOTHING = {
    "train": ("I don't know.", "We haven't learned about {x} yet.", "{x} is very important.",
              "I have forgotten what {x} does.", "{x} is in chapter two.", "Nobody knows.",
              "I am not sure about {x}.", "I don't know.", "No idea what {x} is."),
    "valid": ("I have forgotten.",),
    "test": ("I don't know what {x} does.", "{x} is important, and nobody knows why."),
}
DENIALS = {
    "train": ("it is not true that {1}", "it is wrong that {1}", "it is not the case that {1}",
              "{not}", "{not}", "{not}"),
    "valid": ("{not}",),
    "test": ("{not}", "it is not so that {1}"),
}


@cache
def _things(split):
    """-> list of the Things that only this split asks about"""
    found = []
    for text in (_COURSE, _SCIENCE):
        lines = re.sub(r"\n +", " ", text.strip()).split("\n")  # an indented line continues one
        for line in lines[_SIZES[split]]:
            name, _, facts = line.partition(": ")
            found.append(Thing(name, tuple(tuple(fact.split(" / ")) for fact in facts.split("; "))))
    return found


def third_person(phrase):
    """-> "carries a charge" for "carry a charge"."""
    if phrase.startswith("not "):
        return f"does {phrase}"
    verb, _, rest = phrase.partition(" ")
    irregular = {"be": "is", "have": "has", "do": "does", "go": "goes"}
    if verb in irregular:
        verb = irregular[verb]
    elif re.search(r"[^aeiou]y$", verb):
        verb = f"{verb[:-1]}ies"
    else:
        verb += "es" if re.search(r"(s|sh|ch|x|z)$", verb) else "s"
    return f"{verb} {rest}".strip()


def negated(phrase):
    """-> "does not carry a charge" for "carry a charge", "is not big" for "be big"."""
    if phrase.startswith("not "):
        return third_person(phrase.removeprefix("not "))
    return f"is not {phrase[3:]}" if phrase.startswith("be ") else f"does not {phrase}"


def opposite(phrase):
    """-> the phrase with one word replaced by its opposite; None if there is none"""
    words = phrase.split()
    for place, word in enumerate(words):
        if word in OPPOSITES:
            return " ".join([*words[:place], OPPOSITES[word], *words[place + 1 :]])
    return None


def _clause(name, verb_phrase, rng):
    """-> a fact with its subject, the name or "it"."""
    subject = pick(rng, ("it", "it", "it", name))
    return f"{subject} {verb_phrase}"


def _wrong(rng, split, thing, fact, others):
    """-> something wrong about a thing: a fact's opposite, its negation or another thing's fact"""
    wording = pick(rng, fact)
    kind = rng.integers(3)
    changed = opposite(wording)
    if kind == 0 and changed is not None:
        return _clause(thing.name, third_person(changed), rng)
    if kind == 1:
        denial = pick(rng, DENIALS[split])
        return denial.replace("{1}", _clause(thing.name, third_person(wording), rng)).replace(
            "{not}", _clause(thing.name, negated(wording), rng))
    other = pick(rng, others)
    return _clause(thing.name, third_person(pick(rng, pick(rng, other.facts))), rng)


def _mixed(rng, things):
    """-> a fact, in two wordings, with the verbs of one fact and what follows in another"""
    verbs, rests = (pick(rng, pick(rng, things).facts) for _ in range(2))
    return tuple(f"{verb.partition(' ')[0]} {rest.partition(' ')[2]}"
                 for verb, rest in zip(verbs, rests))


@cache
def _patterns():
    """-> (list of pairs of wordings with {a} and {b}, list of nouns)"""
    patterns = [tuple(pair.split(" / ")) for pair in " ".join(_PATTERNS.split()).split("; ")]
    return patterns, " ".join(_NOUNS.split()).split(", ")


def _invented(rng):
    """-> a fact, in two wordings, from a pattern and two nouns"""
    patterns, nouns = _patterns()
    a, b = (nouns[i] for i in rng.choice(len(nouns), 2, replace=False))
    wordings = [one.replace("{a}", a).replace("{b}", b) for one in pick(rng, patterns)]
    return tuple(wordings if rng.random() < 0.5 else wordings[::-1])


@cache
def coined_words():
    """-> N_COINED words that don't exist, such as "plimmer"; always the same ones"""
    rng, found = np.random.default_rng(0), {}
    while len(found) < N_COINED:
        found["".join(pick(rng, _ONSETS) + pick(rng, "aeiou") + pick(rng, _CODAS)
                      for _ in range(int(rng.integers(1, 3))))] = None
    return tuple(found)


def disguised(phrase, rng, coined):
    """-> the phrase with some words replaced by coined ones

    coined: {word: what replaces it}, filled here; used for all phrases of an example, so that equal
        words stay equal. Words that tell right from wrong, and the small ones, stay.
    """
    found = []
    for word in phrase.split():
        base = word.removesuffix("s") if len(word) > 3 else word
        if word in _KEPT:
            found.append(word)
            continue
        if base not in coined:
            coined[base] = pick(rng, coined_words()) if rng.random() < COINED else base
        found.append(coined[base] + word[len(base):])
    return " ".join(found)


def _unknown_things(rng, things):
    """-> five Things with facts that nobody could know"""
    is_mixed, coined = rng.random() < MIXED / (MIXED + INVENTED), {}
    hides = rng.random() < DISGUISED
    found = []
    for _ in range(5):
        facts = [_mixed(rng, things) if is_mixed else _invented(rng) for _ in range(2)]
        name = pick(rng, things).name
        if hides:
            facts = [tuple(disguised(wording, rng, coined) for wording in fact) for fact in facts]
            name = f"{pick(rng, ('the ', 'a ', ''))}{pick(rng, coined_words())}"
        found.append(Thing(name, tuple(facts)))
    return found


def _example(rng, split):
    things = _things(split)
    if split == "train" and rng.random() < MIXED + INVENTED:
        thing, *others = _unknown_things(rng, things)
    else:
        thing = pick(rng, things)
        others = [other for other in things if other.name != thing.name]
    first, second = (thing.facts[i] for i in rng.permutation(2))

    def right(fact):
        return _clause(thing.name, third_person(pick(rng, fact)), rng)

    def wrong(fact):
        return _wrong(rng, split, thing, fact, others)

    def joined(one, other):
        parts = [one, other] if rng.random() < 0.5 else [other, one]
        return pick(rng, BOTH[split]).replace("{1}", parts[0]).replace("{2}", parts[1])

    def alone(one):
        return pick(rng, ALONE[split]).replace("{1}", one)

    grade = int(rng.integers(3))
    if grade == 2:
        answer = joined(right(first), right(second))
    elif grade == 1:
        answer = alone(right(first)) if rng.random() < 0.4 else joined(right(first), wrong(second))
    else:
        kind = rng.random()
        answer = (pick(rng, NOTHING[split]).replace("{x}", thing.name) if kind < 0.08
                  else alone(wrong(first)) if kind < 0.4 else joined(wrong(first), wrong(second)))
    keys = [third_person(fact[0]) for fact in thing.facts]
    return {"question": pick(rng, QUESTIONS[split]).replace("{x}", thing.name),
            "key": f"It {keys[0]}, and it {keys[1]}.",
            "answer": ". ".join(map(_capital, answer.split(". "))), "grade": GRADES[grade]}


def _capital(text):
    return text[:1].upper() + text[1:]


def generate(n, seed):
    """-> {"train": …, "valid": …, "test": …}: lists of {"question", "key", "answer", "grade"}"""
    return generate_splits(n, np.random.default_rng(seed), _example,
                           key=lambda example: (example["key"], example["answer"]))
