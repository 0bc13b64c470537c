"""Fill in masks: the tokens that a masked language model expects in the place of each mask."""

import numpy as np

from minillm.checks import shown
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax


def fill_mask(model, tokenizer, text, top=5):
    """-> for each mask in `text`, a list of the likeliest (token, probability), the best first

    model: with logits (B, T, V), such as BertForMaskedLM, in eval mode
    tokenizer: with a mask_token;  text: str;  top: how many tokens for each mask

    Every mask is filled on its own: the candidates of two masks needn't fit together.
    Raises ValueError for a text without masks, or one that is longer than the model reads.
    """
    n_tokens = model.config.vocab_size
    if not 1 <= top <= n_tokens:
        raise ValueError(f"top is {top}, wanted 1 … {n_tokens}")
    if tokenizer.mask_token is None:
        raise ValueError("the tokenizer has no mask token")
    inputs = tokenizer(text, return_tensors="np", truncation=False)
    places = np.flatnonzero(inputs["input_ids"][0] == tokenizer.mask_token_id)
    if not len(places):
        raise ValueError(f"{shown(text)} has no {tokenizer.mask_token}, wanted one where a token "
                         "is missing")
    with no_grad():
        logits = model(**inputs).logits[0, places]
    p, _ = softmax(logits)
    likeliest = np.argsort(-p, axis=-1, kind="stable")[:, :top]
    return [[(tokenizer.convert_ids_to_tokens(int(id)), float(p[row, id])) for id in ids]
            for row, ids in enumerate(likeliest)]
