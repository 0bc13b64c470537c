"""Notes in the style of a clinic, with findings, drugs and doses: invented, every word of them.

    {"text": "Denies fever but reports knee pain. Takes Velodrin 20 mg. Mother had gout.",
     "spans": [[7, 12, "ABSENT"], [25, 34, "FINDING"], [42, 50, "DRUG"], [51, 56, "DOSE"],
               [69, 73, "FAMILY"]]}

    FINDING   what the patient has, or had          ABSENT   what the note says is not there
    FAMILY    what a relative has, or had           DRUG     a medicine      DOSE   how much of it

No patient, doctor or drug exists: templates, written for this project, are filled with common
findings and with drug names made of syllables. A model that reads these notes well has learned a
few dozen sentences of one author. It has never seen a clinic, and is no medical device.

What makes it a task:

* The test split has sentences of its own, and half of its findings and drugs occur nowhere else.
* Negation has a scope. "Denies" reaches over a long list and ends at "but"; "ruled out" works
  backwards; and "no change in", "not only", "could not be ruled out" negate nothing.
* Words with two roles: a cold and cold weather, a stroke and the stroke unit, 20 mg of a drug and
  20 mg in the blood.
* One note in six is in lower case.
"""

import re

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick
from minillm.tasks.data.labelled_text import either, fill_labelled, invented_words, join_labelled

COLUMN = {"train": 0, "valid": 0, "test": 1}  # of the pairs below
WHAT = ("invented notes, generated from templates; the scores say nothing about real notes, and "
        "this is no medical device")
LABELS = ("FINDING", "ABSENT", "FAMILY", "DRUG", "DOSE")

SHARE_OF_LOWER_CASE, SHARE_OF_TAILS, SHARE_OF_OPENINGS, LONGEST_LIST = 1 / 6, 0.3, 0.2, 6

# ---- findings: the words of all splits; those of the test split only

SYMPTOMS = ("""fever, cough, nausea, vomiting, headache, dizziness, fatigue, rash, diarrhea,
    palpitations, chills, sweating, weakness, wheezing, itching, swelling, insomnia, hoarseness,
    jaundice, edema, shortness of breath, loss of appetite, night sweats, weight loss, sore throat,
    blurred vision, double vision, common cold, stroke, fall, discharge, high blood pressure,
    cramps, bleeding, tremor, constipation, hair loss, dry mouth""",
    """vertigo, syncope, hiccups, drowsiness, numbness, tingling, bruising, hives, sneezing,
    heartburn, dysphagia, cyanosis, memory loss, loss of smell, hot flushes, ringing in the ears,
    slurred speech, murmur, lump, burn, stiffness, faintness""")
DISEASES = ("""diabetes, asthma, pneumonia, gout, migraine, anemia, epilepsy, arthritis, glaucoma,
    bronchitis, hepatitis, hypertension, heart failure, kidney stones, psoriasis, sinusitis,
    breast cancer, atrial fibrillation, gastritis""",
    """eczema, thyroiditis, osteoporosis, tuberculosis, pancreatitis, dementia, angina, leukemia,
    heart attack, colon cancer, cataract, celiac disease, appendicitis""")
PARTS = ("chest knee back shoulder neck ankle hip stomach arm foot ear eye wrist leg".split(),
         "elbow jaw heel thumb rib groin flank calf".split())
UNPAIRED = {"chest", "back", "neck", "stomach", "jaw"}
COMPLAINTS = (["pain", "swelling", "stiffness", "cramps", "weakness"],
              ["pain", "ache", "soreness", "numbness", "swelling"])
SEVERITY = (["mild", "severe", "new", "dull", "sudden", "constant", "slight", "recurrent"],
            ["moderate", "sharp", "persistent", "marked", "mild"])

# ---- drugs that don't exist, and how much of them

DRUGS = (invented_words("Velo Caso Tramu Nexi Pelo Doru Sima Loru Fexa Bupi Gali Meto Zori".split(),
                        ["", "na", "ri"], "drin dil zole prex tan mide vir lox".split()),
         invented_words("Quivo Hylo Orfa Ubre Jaxi Kento Wexa Ydra".split(), ["", "lo", "mi"],
                        "stat fen zine cort mab drin tan".split()))
DOSES = ("""{n} mg; {n} mg; {n} mg; {n}mg; {n} ml; {n} micrograms; {few} tablets; one tablet;
    half a tablet; {few} x {n} mg; 0.5 mg; {n} g; two capsules""",
    "{n} mg; {n} mg; {n}mg; {few} drops; {n} units; two puffs; {few} capsules; 2.5 mg; one sachet")
OFTEN = (["daily", "twice daily", "at night", "in the morning", "every 6 hours", "as needed"],
         ["three times a day", "before meals", "at bedtime", "every 8 hours", "weekly"])
SINCE = (["yesterday", "Monday", "last week", "lunch", "the operation", "last month", "the fall"],
         ["Friday", "breakfast", "the journey", "this morning", "the accident", "spring"])
RELATIVES = (["Mother", "Father", "Her brother", "His sister", "Grandfather", "An uncle"],
             ["His father", "Her mother", "Grandmother", "A cousin", "An aunt"])

# ---- what may stand at the beginning and at the end of a sentence

OPENINGS = (["Today", "On admission:", "Now", "Since {since}:", "At night", "As before,", "Again",
             "Day {few}:", "After {DRUG:drug}:", "In the evening", "By phone:"],
            ["This morning", "At the visit:", "Still", "Later"])
TAILS = (["since {since}", "today", "for {days} days", "at night", "again", "as before", "so far",
          "on most days", "while walking", "since starting {DRUG:drug}", "in the evening"],
         ["for some weeks", "at work", "since the last visit", "after meals"])

# ---- sentences: <FINDING> is a list of one to LONGEST_LIST findings

NOTES = ("""
Presents with <FINDING> for {days} days.
Complains of {severity} <FINDING>.
{age}-year-old man with {FINDING:finding} and {FINDING:finding}.
{age}-year-old woman with <FINDING>.
History of {FINDING:disease}.
History of {FINDING:disease} and {FINDING:disease}, now {severity} {FINDING:finding}.
{FINDING:finding} since {since}.
{severity} {FINDING:finding} began after {since}.
On examination: <FINDING>.
Admitted because of {FINDING:finding}.
The patient reports <FINDING>.
Cold weather makes the {FINDING:finding} worse.
Seen in the pain clinic for {FINDING:finding}.
Referred to the stroke unit with {FINDING:finding}.
Asks for cough syrup. Still has {FINDING:finding}.
Denies <ABSENT>.
Denies <ABSENT>.
Denies any {ABSENT:finding}.
The patient denies <ABSENT>, but reports {FINDING:finding}.
Denies {ABSENT:finding} but reports <FINDING>.
Reports {FINDING:finding}; denies <ABSENT>.
Reports <FINDING> but no {ABSENT:finding}.
No <ABSENT>.
No {ABSENT:finding}, but {FINDING:finding}.
No {ABSENT:finding} but {severity} {FINDING:finding}.
No {ABSENT:finding} or {ABSENT:finding}, although the {FINDING:finding} persists.
{FINDING:finding}, no {ABSENT:finding}.
{FINDING:finding} without <ABSENT>.
Without {ABSENT:finding} today.
Negative for <ABSENT>.
No evidence of <ABSENT>.
No signs of {ABSENT:disease}.
No {ABSENT:finding} except for {severity} {FINDING:finding}.
{ABSENT:disease} was ruled out.
{ABSENT:disease} and {ABSENT:disease} were ruled out, {FINDING:disease} was found.
{ABSENT:finding}: none. {FINDING:finding}: yes.
{ABSENT:finding} is absent, {FINDING:finding} is present.
Never had {ABSENT:disease}.
Does not complain of <ABSENT>.
Neither {ABSENT:finding} nor {ABSENT:finding}.
Free of {ABSENT:finding} since {since}.
No change in {FINDING:finding}.
No improvement of the {FINDING:finding} with {DRUG:drug}.
The {FINDING:finding} is not better.
{FINDING:disease} could not be ruled out.
No doubt about the {FINDING:disease}.
Not only {FINDING:finding} but also {FINDING:finding}.
The {FINDING:finding} does not respond to {DRUG:drug}.
Does not sleep because of {FINDING:finding}.
Does not smoke. {FINDING:finding} for {days} days.
Denies alcohol; has {FINDING:disease}.
No known allergies. Complains of {FINDING:finding}.
Did not take {DRUG:drug} because of {FINDING:finding}.
No {DRUG:drug} today because of {FINDING:finding}.
{relative} had {FAMILY:disease}.
{relative} has {FAMILY:disease}; the patient has {FINDING:finding}.
Family history of {FAMILY:disease} and {FAMILY:disease}.
Family history of {FAMILY:disease}, but no {ABSENT:finding} in the patient.
{relative} died of {FAMILY:disease} at the age of {age}.
{relative} takes {DRUG:drug} for {FAMILY:disease}.
Started {DRUG:drug} {DOSE:dose} for {FINDING:disease}.
Takes {DRUG:drug} {DOSE:dose} {often}.
Takes {DRUG:drug} and {DRUG:drug} {often}.
{DRUG:drug} {DOSE:dose} {often} helps against the {FINDING:finding}.
Increase {DRUG:drug} from {DOSE:dose} to {DOSE:dose}.
Stop {DRUG:drug}, start {DRUG:drug} {DOSE:dose} {often}.
Given {DOSE:dose} of {DRUG:drug} for {FINDING:finding}.
Allergic to {DRUG:drug}: {FINDING:finding}.
{FINDING:finding} after {DOSE:dose} of {DRUG:drug}.
Continue {DRUG:drug} {DOSE:dose}.
Temperature 38.{few}, pulse {age}, {FINDING:finding}.
Lost {few} kg since {since}; no {ABSENT:finding}.
Glucose {age} mg per liter.
Ready for discharge on {DRUG:drug}.
Moved house in the fall. Walks {few} km {often}.
On examination: no <ABSENT>.
The doctor found {FINDING:finding} and no {ABSENT:finding}.
X-ray: no {ABSENT:disease}, but {FINDING:disease}.
The clinic found {FINDING:disease}.
Tests found no <ABSENT>.
Known {FINDING:disease}; no {ABSENT:finding} since {since}.
A man with {FINDING:finding}, who was seen because of {FINDING:finding}.
Has <FINDING>.
Has {FINDING:finding} but no <ABSENT>.
The {ABSENT:finding} is gone, the {FINDING:finding} is not.
{relative} and {relative} had {FAMILY:disease}.
{relative} had {FAMILY:disease}. No {ABSENT:finding}.
{DRUG:drug} was stopped because of {FINDING:finding}.
{DRUG:drug} was changed to {DRUG:drug} {DOSE:dose} {often}.
{DRUG:drug} is taken {often}, {DOSE:dose} each time.
There was {FINDING:finding}, and then {FINDING:finding}.
Blood pressure {age} before and {age} after {DRUG:drug}.
""", """
{age}-year-old with {FINDING:disease}, who complains of {severity} {FINDING:finding}.
Came because of <FINDING>.
{FINDING:finding} and {FINDING:finding} for {days} weeks.
The {FINDING:finding} began before {since}.
Patient with a history of {FINDING:disease}; no {ABSENT:finding} today.
Has <FINDING>, but denies <ABSENT>.
Today no <ABSENT>.
Denies <ABSENT> since {since}.
Denies {ABSENT:finding} or {ABSENT:finding}, but has {severity} {FINDING:finding}.
There is no {ABSENT:finding}, although {FINDING:finding} is present.
On examination no {ABSENT:finding}, but {FINDING:finding}.
No evidence of {ABSENT:disease}; the {FINDING:finding} persists.
{FINDING:finding} but without {ABSENT:finding} or {ABSENT:finding}.
{ABSENT:disease} was ruled out, but not {FINDING:disease}.
{ABSENT:finding} is absent today.
The {FINDING:finding} is not better with {DRUG:drug} {DOSE:dose}.
No change in the {FINDING:finding} since {since}.
Not only {FINDING:finding}, but now {FINDING:disease}.
{FINDING:finding} of the patient could not be ruled out.
No doubt that {FINDING:disease} was present.
Does not take {DRUG:drug}. Reports <FINDING>.
Never smoked; has {severity} {FINDING:finding}.
{relative} and her sister had {FAMILY:disease}.
{relative} died of {FAMILY:disease}. Denies {ABSENT:finding}.
In the family {FAMILY:disease} and {FAMILY:disease}; the patient has {FINDING:finding}.
Takes {DOSE:dose} of {DRUG:drug} {often} for {FINDING:disease}.
Start {DRUG:drug} {DOSE:dose}; stop {DRUG:drug} because of {FINDING:finding}.
{DRUG:drug} was increased to {DOSE:dose} {often}.
After {DRUG:drug} no {ABSENT:finding}.
Discharge on {DRUG:drug} {DOSE:dose} {often}.
Pulse {age}, temperature 37.{few}. Walks {days} km {often}.
The stroke unit found no {ABSENT:disease}.
""")
NOTES = tuple([line for line in block.split("\n") if line] for block in NOTES)
_LIST = re.compile(r"<(\w+)>")


def fillers(column):
    """-> {slot: filler} of the training words, column 0, or of the test words, column 1"""
    symptoms, diseases, doses = (
        either(column, [[word.strip() for word in words.split(separator)] for words in lists])
        for lists, separator in ((SYMPTOMS, ","), (DISEASES, ","), (DOSES, ";")))
    part, complaint, name = (either(column, lists) for lists in (PARTS, COMPLAINTS, DRUGS))

    def finding(rng):
        kind = rng.random()
        if kind < 0.3:
            return f"{part(rng)} {complaint(rng)}"
        if kind < 0.4:
            place = part(rng)
            side = "" if place in UNPAIRED else pick(rng, ["", "left ", "right "])
            return f"{complaint(rng)} in the {side}{place}"
        return (symptoms if kind < 0.85 else diseases)(rng)

    def drug(rng):
        return name(rng) if rng.random() < 0.7 else name(rng).lower()

    phrases = {slot: either(column, lists) for slot, lists in (
        ("severity", SEVERITY), ("often", OFTEN), ("since", SINCE), ("relative", RELATIVES),
        ("opening", OPENINGS), ("tail", TAILS))}
    return {"finding": finding, "disease": diseases, "drug": drug, "dose": doses, **phrases,
            "few": list("2345678"), "n": list("2 3 5 10 15 20 25 40 50 75 100 200 500".split()),
            "days": lambda rng: str(rng.integers(2, 15)),
            "age": lambda rng: str(rng.integers(18, 97))}


def _listed(label, rng):
    """-> the template of a list of one or more findings: "{X}, {X} or {X}" """
    slots = [f"{{{label}:finding}}"] * int(min(rng.geometric(0.4), LONGEST_LIST))
    last = pick(rng, [" or ", ", "] if label == "ABSENT" else [" and ", ", "])
    return last.join([", ".join(slots[:-1]), slots[-1]]) if slots[1:] else slots[0]


def sentence(rng, template, column):
    """-> text, spans; no finding twice"""
    template = _LIST.sub(lambda match: _listed(match[1], rng), template)
    if rng.random() < SHARE_OF_TAILS:
        template = f"{template[:-1]} {{tail}}."
    if rng.random() < SHARE_OF_OPENINGS:
        template = f"{{opening}} {template[0].lower()}{template[1:]}"
    while True:
        text, spans = fill_labelled(rng, template, fillers(column))
        words = [text[start:end] for start, end, _ in spans]
        if len(set(words)) == len(words):
            return text[0].upper() + text[1:], spans


def draw(rng, split):
    """-> {"text": …, "spans": [[start, end, label], …]}, a note of one to three sentences"""
    column = COLUMN[split]
    text, spans = join_labelled([sentence(rng, pick(rng, NOTES[column]), column)
                                 for _ in range(int(rng.integers(1, 4)))])
    if rng.random() < SHARE_OF_LOWER_CASE:
        text = text.lower()  # no letter of these texts changes its length
    return {"text": text, "spans": spans}


def generate(n, seed):
    """-> {"train": examples, "valid": examples, "test": examples}, n different ones in all"""
    return generate_splits(n, np.random.default_rng(seed), draw, lambda example: example["text"])
