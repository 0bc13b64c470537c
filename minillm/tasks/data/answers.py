"""Generated paragraphs about invented people, towns, products and events, with questions.

    Vela Norberg was born in Marholm. Last year she bought a red bicycle. Vela Kesman was …
    What color is Vela Norberg's bicycle?      ->   red, from character 52
    What color is Vela Kesman's bicycle?       ->   no answer in this paragraph

Each paragraph tells facts about two or three entities of one kind, several of which state the same
relation: these are the distractors. In a third of the questions the paragraph has no answer: it
doesn't state the relation of this entity, or it never mentions the entity, only one with a similar
name. A later sentence about an entity may say "she" or "the town".

The splits share no statement, no question, no opening phrase and no name: those of the test split
are other sentences with other names, made of the same syllables. Closed sets (colors, professions,
months, …) are divided too. So a model that answers has learned to compare the question with the
paragraph, in sentences of this kind. Its score says nothing about other texts.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick, with_article
from minillm.tasks.examples import SPLITS

WHAT = ("paragraphs and questions about invented people, towns, products and events, generated "
        "from patterns; the scores say nothing about real texts")
SHARES = (0.6, 0.15, 0.25)  # of the names and values
UNANSWERABLE = 1 / 3  # of the questions
DISTRACTOR = 0.6  # the probability that the others have the relation of the question too

EXTRA = (0, 1, 1, 2)  # how many other facts about an entity


class Relation(NamedTuple):
    """What a sentence can say about an entity {e}: its value {v}, of one kind.

    Of the statements and of the questions the first six are for training, the next is for
    validation, the last two are for the test.
    """

    value: str  # a key of VALUES
    statements: tuple
    questions: tuple

    def of(self, split):
        """-> (statements, questions) of a split"""
        part = {"train": slice(0, 6), "valid": slice(6, 7), "test": slice(7, None)}[split]
        return self.statements[part], self.questions[part]


RELATIONS = {
    "person": {
        "birthplace": Relation("place", (
            "{e} was born in {v}.", "{e} comes from {v}.", "{e}'s birthplace is {v}.",
            "The town of {v} is where {e} was born.", "{e} was born and raised in {v}.",
            "{v} is the town where {e} was born.",
            "{e} was born near the river in {v}.",
            "{e} was born in the old town of {v}.", "The birthplace of {e} is {v}.",
        ), (
            "Where was {e} born?", "Where does {e} come from?", "What is {e}'s birthplace?",
            "In which town was {e} born?", "In which place was {e} born?", "What town is {e} from?",
            "What is the birthplace of {e}?",
            "Which town does {e} come from?", "Which town was {e} born in?",
        )),
        "home": Relation("place", (
            "{e} lives in {v}.", "{e} has a house in {v}.", "{e} moved to {v} and lives there.",
            "Today {e} lives in a small house in {v}.", "The house of {e} is in {v}.",
            "For many years {e} has lived in {v}.",
            "{e} now lives in the town of {v}.",
            "{e}'s house is in {v}.", "A house in {v} is where {e} lives today.",
        ), (
            "Where does {e} live?", "Where is {e}'s house?", "In which town does {e} live?",
            "Where does {e} live now?", "What town does {e} live in?",
            "In which place is the house of {e}?",
            "Where is the house of {e}?",
            "Which town does {e} live in?", "In which town is {e}'s house?",
        )),
        "job": Relation("job", (
            "{e} works as a {v}.", "{e} is a {v}.", "{e} became a {v}.",
            "{e} earns money as a {v}.", "{e} is known as a good {v}.",
            "The job of {e} is that of a {v}.",
            "For years {e} worked as a {v}.",
            "{e} is a very good {v}.", "Like many others, {e} became a {v}.",
        ), (
            "What is {e}'s job?", "What does {e} do?", "As what does {e} work?",
            "What is the job of {e}?", "What kind of work does {e} do?", "Which job did {e} learn?",
            "What does {e} work as?",
            "Which job does {e} have?", "What did {e} become?",
        )),
        "pet": Relation("animal", (
            "{e} has a {v}.", "{e} keeps a {v} at home.", "{e}'s pet is a {v}.",
            "Every day {e} walks with a {v}.", "{e} bought a small {v}.",
            "The animal that lives with {e} is a {v}.",
            "At home {e} has a pet, a {v}.",
            "The pet of {e} is a {v}.", "{e} keeps a small {v}.",
        ), (
            "What pet does {e} have?", "Which animal does {e} keep?", "What is {e}'s pet?",
            "What kind of animal does {e} have?", "What animal does {e} have at home?",
            "What kind of pet is it that {e} keeps?",
            "What is the pet of {e}?",
            "Which pet does {e} have?", "What animal is {e}'s pet?",
        )),
        "bicycle": Relation("color", (
            "{e} rides a {v} bicycle.", "{e}'s bicycle is {v}.", "{e} bought a {v} bicycle.",
            "The bicycle of {e} is {v}.", "{e} painted the bicycle {v}.",
            "The color of {e}'s bicycle is {v}.",
            "{e} goes to work on a {v} bicycle.",
            "{e} has a {v} bicycle.", "{e} painted the old bicycle {v}.",
        ), (
            "What color is {e}'s bicycle?", "Which color does the bicycle of {e} have?",
            "What is the color of {e}'s bicycle?", "What color is the bicycle that {e} rides?",
            "In which color did {e} paint the bicycle?", "What color does the bicycle of {e} have?",
            "What is the color of the bicycle that {e} bought?",
            "Which color is {e}'s bicycle?", "What color does {e}'s bicycle have?",
        )),
        "class": Relation("small number", (
            "{e} teaches {v} children.", "{e} has a class of {v} children.",
            "There are {v} children in {e}'s class.", "The class of {e} has {v} children.",
            "{e} has {v} children in the class.", "Every day {e} teaches {v} children.",
            "{e} teaches a class of {v} children.",
            "{e}'s class has {v} children.", "In the class of {e} there are {v} children.",
        ), (
            "How many children does {e} teach?", "How many children are there in {e}'s class?",
            "How many children does {e}'s class have?", "{e} teaches how many children?",
            "What is the number of children in {e}'s class?",
            "How many children does {e} have in the class?",
            "How many children are in the class of {e}?",
            "How many children are in {e}'s class?",
            "How many children does the class of {e} have?",
        )),
    },
    "town": {
        "founder": Relation("person", (
            "{e} was founded by {v}.", "{v} founded {e}.", "The founder of {e} was {v}.",
            "{e}'s founder is {v}.", "A person called {v} founded {e}.",
            "The name of the founder of {e} is {v}.",
            "{v} was the founder of {e}.",
            "It was {v} who founded {e}.", "{e} has a founder, {v}.",
        ), (
            "Who founded {e}?", "Who was the founder of {e}?", "By whom was {e} founded?",
            "Who is {e}'s founder?", "What was the name of the founder of {e}?",
            "Which person was the founder of {e}?",
            "Which person founded {e}?",
            "Who was it that founded {e}?", "What is the name of {e}'s founder?",
        )),
        "founded": Relation("year", (
            "{e} was founded in {v}.", "The first houses of {e} were built in {v}.",
            "{e} has existed since {v}.", "In {v} the town of {e} was founded.",
            "{e} is a town since {v}.", "The town of {e} was founded in the year {v}.",
            "{e} was founded in the year {v}.",
            "The year in which {e} was founded is {v}.", "Since {v} the town of {e} has existed.",
        ), (
            "When was {e} founded?", "In which year was {e} founded?",
            "Since when has {e} existed?", "When were the first houses of {e} built?",
            "In what year were the first houses of {e} built?",
            "What is the year in which {e} was founded?",
            "What year was {e} founded?",
            "In what year was {e} founded?", "Since which year has {e} existed?",
        )),
        "people": Relation("large number", (
            "{e} has {v} inhabitants.", "{v} people live in {e}.", "{e} is home to {v} people.",
            "The population of {e} is {v}.", "The number of people in {e} is {v}.",
            "The town of {e} has {v} inhabitants.",
            "About {v} people live in {e}.",
            "The number of inhabitants of {e} is {v}.", "{e} has a population of {v}.",
        ), (
            "How many people live in {e}?", "How many inhabitants does {e} have?",
            "What is the population of {e}?", "How many people call {e} home?",
            "What is the number of people in {e}?", "How large is the population of {e}?",
            "What is {e}'s population?",
            "What is the number of inhabitants of {e}?", "{e} is home to how many people?",
        )),
        "river": Relation("river", (
            "{e} lies on the river {v}.", "The river {v} flows through {e}.",
            "The bridge in {e} crosses the {v}.", "{e} was built beside the river {v}.",
            "The river of {e} is called {v}.", "In {e} there is a bridge over the {v}.",
            "Boats reach {e} on the river {v}.",
            "Through {e} flows the river {v}.", "{e} lies beside the {v}.",
        ), (
            "On which river does {e} lie?", "Which river flows through {e}?",
            "What is the river in {e} called?", "What is the name of {e}'s river?",
            "What is the name of the river that flows through {e}?", "Which river is there in {e}?",
            "Beside which river was {e} built?",
            "Which river does {e} lie on?", "What is the name of the river in {e}?",
        )),
        "goods": Relation("goods", (
            "{e} is known for its {v}.", "{e} is famous for {v}.", "People come to {e} to buy {v}.",
            "The workshops of {e} make {v}.", "People know {e} for its {v}.",
            "What people buy in {e} is {v}.",
            "Everyone knows {e} for its {v}.",
            "{e} is well known for {v}.", "Its {v} made {e} famous.",
        ), (
            "What is {e} known for?", "What is {e} famous for?", "What do people buy in {e}?",
            "What do the workshops of {e} make?", "What do people know {e} for?",
            "What is it that made {e} famous?",
            "For what is {e} famous?",
            "For what is {e} known?", "What do people come to {e} to buy?",
        )),
    },
    "product": {
        "maker": Relation("company", (
            "{e} is made by {v}.", "{v} makes {e}.", "{e} comes from the company {v}.",
            "The company {v} sells {e}.", "The company that makes {e} is {v}.",
            "{v} is the maker of {e}.",
            "{e} was made by the company {v}.",
            "The maker of {e} is {v}.", "It is {v} that makes {e}.",
        ), (
            "Who makes {e}?", "Which company makes {e}?", "By which company is {e} made?",
            "What company sells {e}?", "Which company is the maker of {e}?",
            "What is the name of the company that makes {e}?",
            "Who is the maker of {e}?",
            "Which company sells {e}?", "Which company does {e} come from?",
        )),
        "price": Relation("small number", (
            "{e} costs {v} dollars.", "The price of {e} is {v} dollars.",
            "{e} is sold for {v} dollars.", "People pay {v} dollars for {e}.",
            "For {v} dollars people get {e}.", "It takes {v} dollars to buy {e}.",
            "{e} has a price of {v} dollars.",
            "For {v} dollars people can buy {e}.", "{e}'s price is {v} dollars.",
        ), (
            "How much does {e} cost?", "What is the price of {e}?", "For how much is {e} sold?",
            "How many dollars does {e} cost?", "How much is {e}?", "What does {e} cost?",
            "How much do people pay for {e}?",
            "How many dollars do people pay for {e}?", "What is {e}'s price?",
        )),
        "designer": Relation("person", (
            "{e} was designed by {v}.", "{v} designed {e}.", "The designer of {e} is {v}.",
            "{e} was invented by {v}.", "It was designed by {v}: {e}.",
            "The person who designed {e} is {v}.",
            "{v} is the designer of {e}.",
            "It was {v} who designed {e}.", "{e}'s designer is {v}.",
        ), (
            "Who designed {e}?", "Who is the designer of {e}?", "By whom was {e} designed?",
            "Who invented {e}?", "What is the name of the person who designed {e}?",
            "Which designer invented {e}?",
            "Who is {e}'s designer?",
            "Which person designed {e}?", "What is the name of the designer of {e}?",
        )),
        "color": Relation("color", (
            "{e} is {v}.", "{e} is sold only in {v}.", "The color of {e} is {v}.",
            "{e} is painted {v}.", "The color {v} is that of {e}.", "People can buy {e} in {v}.",
            "{e} has a {v} cover.",
            "{e}'s color is {v}.", "{e} is always painted {v}.",
        ), (
            "What color is {e}?", "Which color does {e} have?", "What is the color of {e}?",
            "In which color is {e} sold?", "What is the color in which {e} is sold?",
            "What color does {e} have?",
            "In what color is {e} painted?",
            "Which color is {e}?", "What is {e}'s color?",
        )),
        "weight": Relation("small number", (
            "{e} weighs {v} kilograms.", "The weight of {e} is {v} kilograms.",
            "{e} has a weight of {v} kilograms.", "With its box, {e} weighs {v} kilograms.",
            "{e} is heavy: it weighs {v} kilograms.", "It is {v} kilograms that {e} weighs.",
            "On the scales {e} weighs {v} kilograms.",
            "{e}'s weight is {v} kilograms.", "{v} kilograms is the weight of {e}.",
        ), (
            "How much does {e} weigh?", "What is the weight of {e}?",
            "How many kilograms does {e} weigh?", "How heavy is {e}?",
            "What is the number of kilograms that {e} weighs?", "What weight does {e} have?",
            "What does {e} weigh?",
            "What is {e}'s weight?", "How many kilograms is the weight of {e}?",
        )),
    },
    "event": {
        "place": Relation("place", (
            "{e} takes place in {v}.", "{e} was held in {v}.", "The town of {v} invites to {e}.",
            "People travel to {v} for {e}.", "The place of {e} is {v}.",
            "The town where {e} is held is {v}.",
            "{e} is held in the streets of {v}.",
            "{e} takes place in the town of {v}.", "{v} is the place where {e} was held.",
        ), (
            "Where does {e} take place?", "Where was {e} held?", "In which town was {e} held?",
            "Where do people travel for {e}?", "What is the place of {e}?",
            "Which town is the place of {e}?",
            "Which town invites to {e}?",
            "Where is {e} held?", "In which town does {e} take place?",
        )),
        "date": Relation("date", (
            "{e} begins on {v}.", "{e} takes place every year on {v}.", "{v} is the day of {e}.",
            "{e} was held on {v}.", "On {v} there is {e}.", "Every year {e} begins on {v}.",
            "{e} always begins on {v}.",
            "The day of {e} is {v}.", "Every year {e} is held on {v}.",
        ), (
            "When does {e} begin?", "On which day does {e} take place?", "When is {e}?",
            "What is the day of {e}?", "On what day does {e} begin?", "What day is {e} held on?",
            "On what day is {e}?",
            "When does {e} take place?", "On which day was {e} held?",
        )),
        "winner": Relation("person", (
            "{e} was won by {v}.", "{v} won {e}.", "The winner of {e} was {v}.",
            "The first prize of {e} went to {v}.", "The person who won {e} was {v}.",
            "{v} was the one who won {e}.",
            "{v} was the winner of {e}.",
            "It was {v} who won {e}.", "{e}'s winner was {v}.",
        ), (
            "Who won {e}?", "Who was the winner of {e}?", "By whom was {e} won?",
            "To whom did the first prize of {e} go?", "Who was it that won {e}?",
            "Which person was the winner of {e}?",
            "Which person won {e}?",
            "Who was {e}'s winner?", "What is the name of the winner of {e}?",
        )),
        "visitors": Relation("large number", (
            "{e} had {v} visitors.", "{v} people came to {e}.", "About {v} people saw {e}.",
            "The number of visitors of {e} was {v}.", "{e} was seen by about {v} people.",
            "There were {v} people at {e}.",
            "{v} visitors came to {e}.",
            "There were {v} visitors at {e}.", "{e} was seen by {v} people.",
        ), (
            "How many visitors did {e} have?", "How many people came to {e}?",
            "How many people saw {e}?", "What was the number of visitors of {e}?",
            "What is the number of people who saw {e}?", "How many people were there at {e}?",
            "How many visitors came to {e}?",
            "How many visitors were there at {e}?", "By how many people was {e} seen?",
        )),
        "organizer": Relation("company", (
            "{e} is organized by {v}.", "{v} organizes {e}.", "The organizer of {e} is {v}.",
            "The company {v} pays for {e}.", "The company that organizes {e} is {v}.",
            "{e} was organized by the company {v}.",
            "{v} is the organizer of {e}.",
            "It is {v} that organizes {e}.", "{e}'s organizer is {v}.",
        ), (
            "Who organizes {e}?", "Which company organizes {e}?", "Who is the organizer of {e}?",
            "By whom is {e} organized?", "What is the name of the company that organizes {e}?",
            "Which company is the organizer of {e}?",
            "Which company pays for {e}?",
            "Who is {e}'s organizer?", "By which company is {e} organized?",
        )),
    },
}
PRONOUNS = {"person": (("she", "her"), ("he", "his")), "town": (("the town", "the town's"),),
            "product": (("it", "its"),), "event": (("it", "its"),)}

# Words in front of a sentence, behind the entity with which it begins, or at its end; and whole
# sentences that say nothing.
OPENINGS = {
    "train": ("As everyone knows, ", "People say that ", "In fact, ", "It is true that ",
              "According to the newspaper, ", "By the way, ", "As far as we know, ", "Today "),
    "valid": ("According to the teacher, ",),
    "test": ("It is known that ", "Everyone knows that ", "According to many people, "),
}
ASIDES = {
    "train": (", they say,", ", by the way,", ", as we know,", ", in fact,", ", many people say,",
              " still"),
    "valid": (", the teacher says,",),
    "test": (", people say,", ", as everyone knows,"),
}
CLOSINGS = {
    "train": (", they say", ", as far as we know", " today", ", in fact", ", if that is true",
              ", and that is no secret"),
    "valid": (", the teacher says",),
    "test": (", many people say", ", by the way"),
}
BEFORE_QUESTIONS = {
    "train": ("Tell me: ", "Please say: ", "I would like to know: ", "Can you say it? ",
              "The question is: ", "Here is a question: ", "I ask you: "),
    "valid": ("The teacher asks: ",),
    "test": ("Please tell me: ", "Everyone asks: "),
}
FILLERS = {
    "train": ("The weather was fine.", "Nobody knows why.", "That was a long time ago.",
              "Many people like this.", "The newspaper wrote about it.", "There is more to say."),
    "valid": ("The teacher wrote about it.", "That is a long story."),
    "test": ("Nobody wrote about it.", "The story is true.", "Many people know why."),
}

STARTS = ("Ma Ve Jo Li Ka Ro Te Sa No Be Da Fi Ha Mi Pe Lu To Ne Ri Wi An El Or Is Bra Gre Sti "
          "Tho").split()
MIDDLES = "be da li mo ne ri sa ta vi lo".split()
FEMALE = "ra na lia rin la ya via nka".split()
MALE = "ren lo nek dor mas rik bert lan".split()
ROOTS = ("Hol Pel Bran Kes Mar Ost Wal Dre Fen Gar Lin Nor Rad Ste Tor Ul Ves Wi Ash Bar Cal Dun "
         "Est Ham Kir Lan Mel Nes Rav Sel").split()
LINKS = "den er ing low man sel tes ven".split()
SURNAME_ENDS = "berg sen ley ov well quist son".split()
TOWN_ENDS = "ton ford bury holm dale mouth stead field haven burg".split()
RIVER_ENDS = "a e ne wen ach ar".split()
COMPANY_ENDS = "ex tec co lux nova data".split()
BRAND_ENDS = "o i ax ette ino on".split()
PRODUCTS = ("lamp kettle radio clock camera chair drum mixer fan scooter heater printer tent "
            "piano phone oven desk guitar helmet drone").split()
EVENTS = ("Flower Festival,Boat Race,Book Fair,Music Festival,Bicycle Race,Kite Festival,Cheese "
          "Market,Chess Cup,Film Week,Science Fair,Wine Festival,Horse Race,Lantern Walk,Craft "
          "Fair,Snow Cup,Garden Show,Ski Race,Tea Festival,Art Market,Dance Week").split(",")
JOBS = ("baker teacher doctor farmer painter singer gardener carpenter lawyer pilot nurse cook "
        "plumber writer driver dancer tailor sailor judge librarian potter miner photographer "
        "fisher mason barber dentist chemist surgeon waiter printer glazier weaver roofer cobbler "
        "blacksmith beekeeper translator jeweler conductor detective ranger welder florist "
        "violinist butcher banker reporter porter shepherd").split()
ANIMALS = ("dog cat parrot rabbit horse goat tortoise hamster canary pony donkey goose ferret "
           "lizard pigeon duck sheep hedgehog turkey llama squirrel gecko beagle poodle kitten "
           "puppy budgie finch carp snail frog newt toad falcon raven magpie beetle spider "
           "chicken pig calf lamb mouse rat mule peacock swan terrier spaniel python").split()
COLORS = ("red green blue yellow white black brown orange purple pink silver gray golden violet "
          "beige turquoise crimson ivory olive scarlet maroon lilac copper cream amber navy mint "
          "lavender khaki magenta teal coral indigo bronze mustard peach plum ruby sand "
          "rust").split()
GOODS = ("cheese,shoes,carpets,honey,glass,knives,hats,clocks,apples,wine,chairs,soap,bells,"
         "pottery,bread,lace,candles,paper,salt,violins,tea,boats,baskets,mirrors,pears,boots,"
         "gloves,umbrellas,pianos,mustard,tiles,toys,buttons,silk,wool,sausages,chocolate,pens,"
         "kites,barrels,bricks,cherries,mushrooms,trumpets,tables,spoons,maps,books,flutes,jam"
         ).split(",")
MONTHS = ("January February March April May June July August September October November "
          "December").split()


def _words(*parts):
    return ["".join(chosen) for chosen in product(*parts)]


@cache
def words_of(split):
    """-> {kind: tuple of the words that only this split uses}"""
    lists = {
        "female": _words(STARTS, MIDDLES, FEMALE), "male": _words(STARTS, MIDDLES, MALE),
        "surname": _words(ROOTS, LINKS, SURNAME_ENDS), "place": _words(ROOTS, LINKS, TOWN_ENDS),
        "river": _words(STARTS, MIDDLES, RIVER_ENDS),
        "company": _words(ROOTS, LINKS, COMPANY_ENDS),
        "brand": _words(STARTS, MIDDLES, BRAND_ENDS),
        "job": JOBS, "animal": ANIMALS, "color": COLORS,
        "goods": GOODS, "year": [str(year) for year in range(1100, 2020)],
        "date": [f"{day} {month}" for month in MONTHS for day in range(1, 29)],
        "small number": [str(number) for number in range(2, 100)],
        "large number": [f"{number * 10:,}" for number in range(11, 1800)],
        "product": PRODUCTS, "event": EVENTS,
    }
    rng = np.random.default_rng(17)
    found = {}
    for kind, words in lists.items():
        words = [words[i] for i in rng.permutation(len(words))]
        ends = np.round(np.cumsum((0, *SHARES)) * len(words)).astype(int)
        place = SPLITS.index(split)
        found[kind] = tuple(words[ends[place] : ends[place + 1]])
    return found


class Entity(NamedTuple):
    kind: str
    name: str
    parts: tuple  # two words, one of which a similar name shares
    pronoun: tuple  # in the place of the name, and of "name's"


def _entity(rng, words, kind, like=None):
    """-> an Entity; `like` is another, whose name is to be similar"""
    if kind == "person":
        sex = int(rng.integers(2)) if like is None else PRONOUNS[kind].index(like.pronoun)
        lists = words[("female", "male")[sex]], words["surname"]
    else:
        sex = 0
        lists = {"town": (words["place"], ("",)), "product": (words["brand"], words["product"]),
                 "event": (words["place"], words["event"])}[kind]
    parts = [pick(rng, choices) for choices in lists]
    if like is not None and kind != "town":
        kept = rng.integers(2)
        parts[kept] = like.parts[kept]
    elif like is not None:  # Marholm and Marburg
        similar = [word for word in lists[0] if word[:3] == like.name[:3] and word != like.name]
        if similar and rng.random() < 0.8:  # not always: there may be no unused one
            parts[0] = pick(rng, similar)
    name = " ".join(parts).strip()
    if kind in ("product", "event"):
        name = f"the {name}"
    return Entity(kind, name, tuple(parts), PRONOUNS[kind][sex])


def _value(rng, words, kind):
    if kind == "person":
        return f"{pick(rng, words['female' if rng.random() < 0.5 else 'male'])} " \
               f"{pick(rng, words['surname'])}"
    return pick(rng, words[kind])


def fill(template, entity, value, named=True):
    """-> (sentence, the value's place in it); named=False: a pronoun instead of the name"""
    name, owner = (entity.name, f"{entity.name}'s") if named else entity.pronoun
    before, _, after = template.replace("{e}'s", owner).replace("{e}", name).partition("{v}")
    if with_article(f"a {value}") != f"a {value}" and before.endswith(" a "):
        before = f"{before[:-1]}n "
    sentence = before + value + after
    return sentence[0].upper() + sentence[1:], len(before)


def _example(rng, split, kinds=tuple(RELATIONS)):
    words = words_of(split)
    kind = pick(rng, kinds)
    relations = RELATIONS[kind]
    first = _entity(rng, words, kind)
    entities = [first]
    while len(entities) < rng.integers(2, 4):
        other = _entity(rng, words, kind, like=first if rng.random() < 0.4 else None)
        if other.name not in [entity.name for entity in entities]:
            entities.append(other)
    asked = pick(rng, tuple(relations))
    has_answer = rng.random() >= UNANSWERABLE
    about = first
    if not has_answer and rng.random() < 0.5:  # an entity that the paragraph never mentions
        while about.name in [entity.name for entity in entities]:
            about = _entity(rng, words, kind, like=first)
    facts, used = [], set()
    for entity in entities:
        states = has_answer if entity is about else rng.random() < DISTRACTOR
        if about not in entities and entity is first:
            states = True
        names = [name for name in relations if name != asked]
        n_others = max(pick(rng, EXTRA), 0 if states else 1)
        chosen = [names[i] for i in rng.permutation(len(names))[:n_others]]
        if states:
            chosen.insert(rng.integers(len(chosen) + 1), asked)
        for name in chosen:
            value = _value(rng, words, relations[name].value)
            while value in used:
                value = _value(rng, words, relations[name].value)
            used.add(value)
            facts.append((entity, name, value))
    if rng.random() < 0.4:  # the facts of different entities take turns
        facts = [facts[i] for i in rng.permutation(len(facts))]
    else:
        order = [entities[i].name for i in rng.permutation(len(entities))]
        facts.sort(key=lambda fact: order.index(fact[0].name))
    context, answers = _paragraph(rng, split, facts, about, asked)
    question = fill(pick(rng, relations[asked].of(split)[1]), about, "")[0]
    if rng.random() < 0.25:
        question = pick(rng, BEFORE_QUESTIONS[split]) + question
    return {"context": context, "question": question, "answers": answers}


def _paragraph(rng, split, facts, about, asked):
    """-> context, answers"""
    context, answers, before = "", [], None
    for entity, name, value in facts:
        template = pick(rng, RELATIONS[entity.kind][name].of(split)[0])
        named = entity is not before or not template.startswith("{e}") or rng.random() < 0.5
        sentence, place = fill(template, entity, value, named)
        sentence, place = _with_phrase(rng, split, sentence, place, entity if named else None)
        if context:
            context += " "
        if entity is about and name == asked:
            answers = [{"text": value, "start": len(context) + place}]
        context += sentence
        if rng.random() < 0.1:
            context += " " + pick(rng, FILLERS[split])
        before = entity
    return context, answers


def _with_phrase(rng, split, sentence, place, entity):
    """Sometimes add an opening, an aside or a closing -> (sentence, the value's place in it)

    entity: None in a sentence that doesn't name it
    """
    kind = rng.random()
    if kind < 0.12 and entity is not None:
        opening = pick(rng, OPENINGS[split])
        if place != 0 and not sentence.startswith(entity.name):  # "The class …", not a name
            sentence = sentence[0].lower() + sentence[1:]
        return opening + sentence, place + len(opening)
    begins = entity is not None and sentence.lower().startswith(f"{entity.name} ".lower())
    if kind < 0.24 and begins:
        aside, end = pick(rng, ASIDES[split]), len(entity.name)
        return sentence[:end] + aside + sentence[end:], place + len(aside)
    if kind < 0.32:
        return sentence[:-1] + pick(rng, CLOSINGS[split]) + ".", place
    return sentence, place


def generate(n, seed, kinds=tuple(RELATIONS)):
    """-> {"train": …, "valid": …, "test": …}: {"context", "question", "answers"}, n in all

    answers: list of {"text": …, "start": its character in the context}; empty if there is none
    kinds: the entities that the paragraphs are about, keys of RELATIONS
    """
    return generate_splits(n, np.random.default_rng(seed),
                           lambda rng, split: _example(rng, split, kinds),
                           key=lambda example: (example["question"], example["context"]))
