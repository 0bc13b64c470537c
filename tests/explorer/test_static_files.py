"""The page's source: no HTML from strings, and every message in both languages."""

import json
import re

import pytest

from minillm.explorer.export import page_views
from minillm.explorer.page import static_files
from minillm.explorer.views import OFFLINE, load_views

FILES = {name: data.decode("utf-8") for name, data in static_files().items()}
MODULES = {name: text for name, text in FILES.items() if name.endswith(".js")}
MESSAGES = json.loads(FILES["messages.json"])
IMPORTED = r'^(?:import|export|\})[^"\n]*\bfrom "([^"]+)"|\bimport\("([^"]+)"\)'
FORBIDDEN = re.compile(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function|"
                       r"DOMParser|createContextualFragment|srcdoc|localStorage)\b|https?://(?!www\.w3\.org/)")


@pytest.mark.parametrize("name", MODULES)
def test_no_module_makes_html_from_strings_or_knows_another_server(name):
    assert FORBIDDEN.findall(MODULES[name]) == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_only_modules_that_exist(name):
    for imported in map("".join, re.findall(IMPORTED, MODULES[name], re.MULTILINE)):
        assert imported.startswith("./") and imported[2:] in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_every_message_that_a_module_names_exists(name):
    for key in re.findall(r'^(?!//).*?\bt\("([a-z]+\.\w+)"', MODULES[name], re.MULTILINE):
        block, _, rest = key.partition(".")
        assert rest in MESSAGES.get(block, {}), f"{name} says {key}"


def test_every_message_is_in_both_languages_with_the_same_values():
    for block, messages in MESSAGES.items():
        for key, texts in messages.items():
            assert texts.keys() == {"en", "zh"} and all(texts.values()), f"{block}.{key}"
            values = [sorted(set(re.findall(r"\{\w+\}", text))) for text in texts.values()]
            assert values[0] == values[1], f"{block}.{key}"


def test_every_view_has_a_module_messages_and_answers_for_a_page_without_a_server():
    load_views()
    for view in page_views():
        assert f"view-{view}.js" in MODULES and {"title", "help"} <= MESSAGES[view].keys()
        assert view in OFFLINE
