"""Preparing text for training: `minillm prepare IN OUT`.

On floor 6, because it masks personal data (minillm/trust); what it writes is read on floors 4 and 5
(text/prepared.py), so training needs nothing from here.

    reading.py          files of many kinds and encodings, as a stream of documents
    shingles.py         a text as n-grams of words, each a number
    minhash.py          how alike two texts are, from 128 numbers each; bands to find the pairs
    union_find.py       from pairs to groups
    languages.py        which language a text is in, by its letters (language_texts.py)
    quality.py          rules for text that is worth reading: Gopher's and C4's
    decontamination.py  no document that shares 13 words in a row with a test
    analysis.py         everything that is done with one document
    store.py            what is known so far, in one file that survives a kill
    pipeline.py         the stages, in order
    reports.py          what was removed and why; the data card; the manifest

Memory doesn't grow with the text: documents are read one after another, and what has to be known
of all of them is in the store. Only the test texts of decontamination and the groups of alike
documents are in memory.
"""
