"""Privacy: what a text says about people, found and masked before a model reads it.

    folding.py              one ASCII character for each character, so that patterns stay short
    detector.py             a pattern that proposes, and a check that decides
    checksums.py            Luhn, ISO 7064 MOD 97-10 (IBAN), ISO 7064 MOD 11-2 (resident IDs)
    phone_numbers.py        forms of phone numbers, and what only looks like one
    internet_addresses.py   e-mail, IPv4, IPv6, URLs with credentials
    numbers_of_people.py    cards, IBANs, resident IDs
    secrets.py              keys and tokens with known prefixes
    names.py                persons and places, by a model of the task `entities`
    masking.py              all of them on one text: `find_personal_data`, `mask`
    pseudonyms.py           labels by a key instead of placeholders, and back
    generated_data.py       sentences whose personal data is known, and near misses

Memorization: what a model gives away of the text that it was trained on.

    likelihood.py           the loss of every token of a text, for decoders and BERT
    exposure.py             of a secret that was inserted into the text (text/canaries.py)
    extraction.py           training text recited word for word
    roc.py, membership.py   training text told from other text by its losses
    memorization.py         the experiment: by repetition, epochs and size
    audit.py                all three on a run;  audit_page.py  for a reader
    model_card.py           what a run is, and what was measured about it

Fairness: how a model treats groups of people, in fairness/, whose __init__.py lists its files.
"""
