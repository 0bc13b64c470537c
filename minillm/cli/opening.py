"""Opening a model for a command that needs all of its weights."""

import warnings


def open_trained(cls, folder, **options):
    """-> cls.from_pretrained(folder, **options); ValueError if the file lacks the weights of its head

    A head with random weights is a start for training. Its answers would mean nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* starts with a head that has to be trained")
        try:
            return cls.from_pretrained(folder, **options)
        except UserWarning as warning:
            raise ValueError(f"{warning}, wanted a trained one") from None
