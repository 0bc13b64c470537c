"""What models are for: tasks that are learned from labelled examples.

    base.py                 what all of them share: SupervisedTask, on the loop of minillm/training
    examples.py             files of examples, splits, batches
    metrics.py              a metric is a function of sums over the examples; accuracy, macro F1
    intervals.py            95 % intervals: by bootstrap, and for proportions
    logistic_regression.py  the baseline: a bag of words
    classification.py       a text gets one of several labels: sentiment, topics
    tagging.py              spans of a text get labels: names, findings; span_f1.py: BIO, entity F1
    tagger.py               from text to pieces, windows, tags and back: find_entities
    viterbi.py, word_dropout.py, negation.py, bio_files.py    what tagging needs besides
    seq2seq.py              from text to text: teacher forcing, batches by length, answers
    translation.py          an encoder-decoder's task; bleu.py, chrf.py: its metrics
    answering.py            the answer to a question, marked in a text; spans.py: the best span,
                            squad.py: exact match and F1
    retrieval.py            the entry of a FAQ that answers a question, or none; ranking.py: MRR,
                            recall@k, thresholds; tfidf.py: the baseline, a search by words
    grading.py              a student's answer compared with the key; kappa.py: agreement
    shared_words.py, hidden_tokens.py    what tasks on two texts need besides
    report.py               a finished run: its scores beside the baselines', its pictures

`data/` holds the generators. Their examples are made up for this project: a score on them shows
that the method works, and says nothing about texts from elsewhere.

The names of the tasks are in minillm/training/task.py.
"""
