"""PeftModel: LoRA by the names of Hugging Face's `peft`, so that programs written for it run here.

    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16))
    model.print_trainable_parameters()
    …                                                      # train
    model.save_pretrained("my_adapter")                    # the adapter alone
    model = PeftModel.from_pretrained(base, "my_adapter")
    model = model.merge_and_unload()                       # an ordinary model

A thin cover over lora.py and lora_files.py. Everything else is that of the model inside.
"""

from contextlib import contextmanager

from minillm.models.lora import inject, lora_layers, merge, merge_and_unload, unload, unmerge
from minillm.models.lora_files import load_adapter, save_adapter


def get_peft_model(model, peft_config):
    """Add LoRA updates to the model, as `inject` does, with its errors -> PeftModel"""
    return PeftModel(inject(model, peft_config))


class PeftModel:
    """A model with LoRA updates, `base_model`; its attributes and methods, such as `generate`, are
    the model's.
    """

    def __init__(self, base_model):
        self.base_model = base_model

    @classmethod
    def from_pretrained(cls, model, model_id, is_trainable=False):
        """Add the adapter in the folder `model_id` to a model, with the errors of `load_adapter`"""
        return cls(load_adapter(model, model_id, trainable=is_trainable))

    def __call__(self, *inputs, **options):
        return self.base_model(*inputs, **options)

    def __getattr__(self, name):  # for what isn't here
        return getattr(vars(self)["base_model"], name)

    @property
    def peft_config(self):
        return {"default": self.base_model._adapted.config}

    def get_base_model(self):
        """-> the model inside, with its updates"""
        return self.base_model

    def get_nb_trainable_parameters(self):
        """-> (the number of parameters that learn, the number of all)"""
        return self.num_parameters(only_trainable=True), self.num_parameters()

    def print_trainable_parameters(self):
        learning, n = self.get_nb_trainable_parameters()
        print(f"trainable params: {learning:,} || all params: {n:,} || "
              f"trainable%: {100 * learning / n:.4f}")

    def save_pretrained(self, folder):
        """Write the adapter into `folder`; the model's own weights are not in it."""
        save_adapter(self.base_model, folder)

    def train(self, mode=True):
        self.base_model.train(mode)
        return self

    def eval(self):
        return self.train(False)

    def merge_adapter(self):
        merge(self.base_model)

    def unmerge_adapter(self):
        unmerge(self.base_model)

    def merge_and_unload(self):
        """-> the model, with the updates in its weights and plain Linears"""
        return merge_and_unload(self.base_model)

    def unload(self):
        """-> the model as it was before"""
        return unload(self.base_model)

    @contextmanager
    def disable_adapter(self):
        """Inside the context the updates are zero, so the model is the old one."""
        updates = [update for _, layer in lora_layers(self.base_model) for update in layer.lora]
        merged = any(layer.is_merged for _, layer in lora_layers(self.base_model))
        alphas = [update.alpha for update in updates]
        unmerge(self.base_model)
        try:
            for update in updates:
                update.alpha = 0.0
            yield
        finally:
            for update, alpha in zip(updates, alphas):
                update.alpha = alpha
            if merged:
                merge(self.base_model)
