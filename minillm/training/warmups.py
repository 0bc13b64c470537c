"""Small steps at the start of a run: windows that grow, and batches that grow.

At first a model learns which tokens are frequent and which follow each other. A short window shows
that as well as a long one (Li et al. 2022, "The Stability-Efficiency Dilemma: Investigating
Sequence Length Warmup for Training GPT Models"). And at first all examples ask for the same, so a
mean over few is as good a direction as one over many: the noise scale grows as the loss falls
(McCandlish et al. 2018, section 4; Smith et al. 2018).

Both are functions of the number of the step alone. Whole batches are drawn as ever, and cut: so a
run that is resumed, or shared by ranks, or that accumulates gradients, computes the same numbers.
"""

MULTIPLE = 8  # of tokens: lengths that the kernels like, and the first length (Li et al.)
FIRST_SHARE = 4  # the first batch has a quarter of the rows


def grows(settings):
    """-> whether some steps of a run are smaller than its last"""
    return settings.length_warmup > 0 or settings.batch_warmup > 0


def shape_at(step, settings):
    """-> rows, length: of the batches in step number `step`, from 0 on

        length(s) = 8 + (T - 8) s / W, rounded down to a multiple of 8     for s < W, then T
        rows(s) = B/4 + (B - B/4) s / W, rounded down                      for s < W, then B
    """
    B, T = settings.batch_size, settings.block_size
    rows, length = B, T
    if step < settings.length_warmup and T > MULTIPLE:
        length = MULTIPLE + (T - MULTIPLE) * step // settings.length_warmup
        length -= length % MULTIPLE
    if step < settings.batch_warmup:
        first = max(1, B // FIRST_SHARE)
        rows = first + (B - first) * step // settings.batch_warmup
    return rows, length


def cut(task, batch, settings, step):
    """-> what step number `step` reads of a batch of `task`"""
    return task.cut(batch, *shape_at(step, settings)) if grows(settings) else batch


def steps_for_the_tokens_of(whole, settings):
    """-> how many steps read at least as many tokens as so many `whole` ones"""
    missing, step = whole * settings.batch_size * settings.block_size, 0
    longest = max(settings.length_warmup, settings.batch_warmup)
    while missing > 0 and step < longest:
        rows, length = shape_at(step, settings)
        missing -= rows * length
        step += 1
    return step + max(0, -(-missing // (settings.batch_size * settings.block_size)))


def require_growing_task(task, settings):
    """ValueError, in one line, if the batches of a task are to grow, but can't be cut

    task: it, or its class
    """
    if grows(settings) and getattr(task, "cut", None) is None:
        name = "length_warmup" if settings.length_warmup else "batch_warmup"
        raise ValueError(f"{name} is {getattr(settings, name)}, but a batch of the task "
                         f"{task.name} isn't windows of text, which could be cut: wanted 0")
