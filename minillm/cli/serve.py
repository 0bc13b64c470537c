"""`minillm serve`: a model behind the API of OpenAI."""

import gc
import os
from pathlib import Path

from minillm.cli.generation import require_generator
from minillm.cli.terminal import say
from minillm.models.auto import AutoModelForCausalLM
from minillm.models.lora_files import with_adapter
from minillm.serving.parameters import Served
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder

KEY_VARIABLE = "MINILLM_API_KEY"  # a key on the command line is visible to every user


def serve(options):
    try:
        from minillm.serving.server import Server
    except ImportError as error:
        raise ImportError(
            f"minillm serve needs {error.name}: pip install 'minillm[serve]'") from None
    _check(options)
    folder = model_folder(options.model)
    require_generator(options.model, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model = with_adapter(model, options.adapter).quantize(options.dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    served = Served(model, tokenizer, options.name or Path(options.model).name, options.max_tokens)
    key = options.api_key or os.environ.get(KEY_VARIABLE) or None
    try:
        server = Server(
            served, options.host, options.port, key=key, hosts=options.allow_host or (),
            n_slots=options.max_batch, max_waiting=options.max_waiting, timeout=options.timeout,
            grace=options.grace)
    except OSError as error:
        raise ValueError(f"--port {options.port} on {options.host}: {error.strerror}") from None
    say(f"{served.name} is served at {server.url} (Ctrl-C ends it)")
    if tokenizer.chat_template is None:
        say("It has no chat template: chats become plain lines of User: and Assistant:")
    if key is None and options.host not in ("127.0.0.1", "localhost", "::1"):
        say(f"Whoever reaches this computer can use it: set a key with --api-key or {KEY_VARIABLE}")
    gc.freeze()  # else every search for garbage, in which all texts wait, goes through the model
    server.run()
    say("The server has ended.")


def _check(options):
    if not 0 <= options.port < 2**16:
        raise ValueError(f"--port is {options.port}, wanted 0 … 65535")
    for name in ("timeout", "grace"):
        value = getattr(options, name)
        if not 0 < value <= 86400:
            raise ValueError(f"--{name} is {value:g}, wanted seconds, over 0 and up to 86400")
    if options.api_key is not None and not options.api_key.isascii():
        raise ValueError("--api-key has characters that a header can't carry, wanted ASCII")
