"""Looking inside: what a model's parts do, on the trace of minillm/nn/trace.py.

    subject.py         a model, its tokenizer, and a text as the model reads it
    inputs.py          a text as the arguments of a model's forward
    text_vector.py     a model without a head, and the vector that stands for its text
    texts.py           other texts, to learn from and to compare with
    streams.py         the residual streams of many texts
    lesson.py          a text as something to learn: the loss, and its terms
    anatomy.py         where the blocks, the heads and the residual stream of any model are
    attention.py       attention weights, rollout and flow, what each head looks at
    scores.py          why it looks there: queries times keys by dimension; lengths of what it reads
    ablation.py        a part's value taken away: zero, its mean, another text's value
    importance.py      which heads matter, by the gradient and by ablation
    lens.py            the logit lens: what would the model say after each block?
    tuned_lens.py      the lens with a trained translator for each layer
    contributions.py   direct logit attribution: how much did each head and layer add to a logit?
    target.py          the number that an explanation is about: a logit, a difference, a likeness
    patching.py        values of one run in another, exact and by the gradient; paths between heads
    circuits.py        what a head's weights say alone, and which heads read which others
    attribution.py     which input tokens mattered: three answers, and the measurement that judges
    probes.py          is a property written in a layer? with a control task
    properties.py      properties of tokens that need no labels
    geometry.py        nearest neighbors and principal axes of vectors
    sparse_autoencoder.py  many features, few of them on: what a layer's vectors consist of
    modular_addition.py  a task whose rule a small model finds long after it has memorized it
    fourier.py         the waves with which it adds
    grokking.py        the experiment of the two
    source.py          functions as statements: what each reads, writes and computes
    objective.py       a loss that every kind of model has
    recording.py       one forward and backward of any model: every call, every named value
    twins.py           which backward belongs to a forward, which gradient to a value
    dataflow.py        what flows where inside a call
    computation.py     from which numbers a number was computed
    finite_difference.py  the derivative of the loss with respect to any number of a run
    axes.py            what the axes of an array mean
    saved.py, export.py  what was trained, and results, in files

Everything works for every architecture of the library that has the part in question, and for
models of your own on minillm.nn.
"""
