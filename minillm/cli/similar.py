"""`minillm similar`: semantic search over the lines of a file."""

from minillm.cli.terminal import for_stream, progress_bar
from minillm.models.sentence_encoder import SentenceEncoder
from minillm.ops.cosine_search import cosine_search
from minillm.text.corpus import read_text
from minillm.training.run import model_folder


def similar(options):
    if options.top < 1:
        raise ValueError(f"--top is {options.top}, wanted at least 1")
    lines = [(number, line.strip()) for number, line
             in enumerate(read_text(options.file).split("\n"), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{options.file} holds no text, wanted a sentence in each line")
    encoder = SentenceEncoder.from_pretrained(model_folder(options.model), pooling=options.pooling)
    with progress_bar("reading", len(lines)) as advance:
        vectors = encoder.encode([line for _, line in lines],
                                 report=lambda done, total: advance(done))
    scores, indices = cosine_search(encoder.encode([options.text]), vectors, options.top)
    for score, index in zip(scores[0], indices[0]):
        number, line = lines[index]
        print(for_stream(f"{score:6.3f}  {number}: {line}"))
