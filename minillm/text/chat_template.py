"""Chat templates: the program in a checkpoint that writes a conversation as one text.

    {% for message in messages %}<|im_start|>{{ message.role }}
    {{ message.content }}<|im_end|>
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
    {% endif %}

It is a Jinja template by a stranger. So it runs in Jinja2's sandbox, and sees only copies of the
messages that consist of strings, numbers, lists and dicts. The rules are those of `transformers`.
Jinja2 is an optional dependency: pip install "minillm[chat]"
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from minillm.checks import shown

TAG = "CONTINUE_FINAL_MESSAGE_TAG "  # marks the end of a message that the model is to continue
REASONING = ("reasoning_content", "thinking", "reasoning")  # names of one field, the first is usual


def choose_template(templates, chosen, has_tools):
    """-> the text of the template to use

    templates: tokenizer.chat_template, a str, {name: str} or None; chosen: a name, a template or
        None. Raises ValueError if there is none.
    """
    if isinstance(templates, dict):
        if chosen in templates:
            return templates[chosen]
        if chosen is None:
            name = "tool_use" if has_tools and "tool_use" in templates else "default"
            if name not in templates:
                raise ValueError(f"chat_template is None, wanted one of {sorted(templates)}: none "
                                 "of them is the default")
            return templates[name]
    template = templates if chosen is None else chosen
    if template is None:
        raise ValueError("the tokenizer has no chat_template, wanted the argument chat_template")
    return template


def render(template, messages, *, tools=None, documents=None, add_generation_prompt=False,
           continue_final_message=False, **variables):
    """-> the text of a conversation, a list of {"role": …, "content": …}

    continue_final_message: end the text inside the last message, so that the model continues its
        content, or the field of this name
    Raises ValueError, in one line, for a template that fails or refuses the messages; ImportError
    without Jinja2; TypeError for messages that aren't dicts.
    """
    messages = [_with_reasoning(message) for message in _checked(messages)]
    if continue_final_message:
        if add_generation_prompt:
            raise ValueError("continue_final_message and add_generation_prompt are both set, "
                             "wanted one of them")
        final = _mark_end(messages[-1], continue_final_message, template)
    if not all(isinstance(tool, dict) for tool in tools or ()):
        raise ValueError("tools has something that isn't a dict, wanted JSON schemas")
    jinja2 = _jinja2()
    try:
        text = _compiled(template).render(
            messages=messages, tools=plain(tools), documents=plain(documents),
            add_generation_prompt=add_generation_prompt, **plain(variables))
    except jinja2.exceptions.TemplateError as error:
        raise ValueError(f"the chat template: {_one_line(error)}") from None
    except (TypeError, ArithmeticError, LookupError, RecursionError, AttributeError) as error:
        raise ValueError(f"the chat template fails: {_one_line(error)}") from None
    return _cut(text, final) if continue_final_message else text


def plain(value):
    """-> a copy out of str, int, float, bool, None, list, tuple and dict. The sandbox doesn't know
    the methods of other objects; the template sees their type's name instead."""
    if isinstance(value, bool):
        return value
    for kind, strip in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if isinstance(value, kind):  # also of a subclass, whose methods could do anything
            return strip(value)
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of NumPy's
        return plain(value.item())
    return f"<{type(value).__name__}>"


def _checked(messages):
    """-> list of plain dicts, without the fields that are None"""
    if not messages:
        raise ValueError("the conversation is empty, wanted at least one message")
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(f"a message is {shown(message)}, wanted a dict with role and content")
    return [plain({key: value for key, value in message.items() if value is not None})
            for message in messages]


def _with_reasoning(message):
    """What the model thought has three names: a template may read any of them."""
    found = next((message[name] for name in REASONING if name in message), None)
    if found is None:
        return message
    return {"thinking": found, **message, "reasoning_content": found}


def _mark_end(message, field, template):
    """Append TAG to the field of the last message -> the text before it"""
    field = field if isinstance(field, str) else "content"
    final = message.get(field)
    if final is None:
        raise ValueError(f"continue_final_message is set, but the final message has no {field!r}")
    names = [field]
    if field in REASONING:
        names = [name for name in REASONING if message.get(name) == final]
    if not any(name in template for name in names):
        raise ValueError(f"continue_final_message is {field!r}, which the template doesn't read")
    if isinstance(final, (list, tuple)):  # blocks: {"type": "text", "text": …}
        block = next((block for block in reversed(final) if "text" in block), None)
        if block is None:
            raise ValueError("continue_final_message is set, but the final message has no text")
        final = block["text"]
        block["text"] += TAG
    else:
        for name in names:
            message[name] += TAG
    return final


def _cut(text, final):
    """-> `text` up to TAG"""
    if final.strip() not in text or TAG.strip() not in text:
        raise ValueError("continue_final_message is set, but the template changes the final "
                         "message")
    end = text.rindex(TAG.strip())
    # If the template strips messages, the space before TAG would not be in the text.
    return text[:end] if text[end : end + len(TAG)] == TAG else text[:end].rstrip()


@lru_cache
def _compiled(template):
    jinja2 = _jinja2()
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} … {% endgeneration %} marks what the assistant writes: here, no mark."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    class Namespace(jinja2.utils.Namespace):
        def __init__(*arguments, **values):
            self, *rest = arguments
            values = dict(*rest, **values)
            for name in values:
                Namespace._check(name)
            jinja2.utils.Namespace.__init__(self, values)

        def __setitem__(self, name, value):
            Namespace._check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def _check(name):
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"a namespace can't hold {name!r}")

    class Dict:
        """`dict` for templates, without the attributes of the type."""

        def __call__(self, *arguments, **values):
            return dict(*arguments, **values)

        def fromkeys(self, *arguments):
            return dict.fromkeys(*arguments)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.update({
        "raise_exception": raise_exception, "dict": Dict(), "namespace": Namespace,
        "strftime_now": lambda pattern: datetime.now().strftime(pattern)})
    return environment.from_string(template)


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """Jinja's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def _jinja2():
    try:
        import jinja2
    except ImportError:
        raise ImportError('chat templates need Jinja2: pip install "minillm[chat]"') from None
    version = tuple(int(part) for part in jinja2.__version__.split(".")[:3] if part.isdigit())
    if version < (3, 1, 6):
        raise ImportError(f"chat templates need Jinja2 3.1.6 or newer, whose sandbox has no known "
                          f"escapes; found {jinja2.__version__}")
    return jinja2


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
