"""The types of values on the command line. An error names what came and what was wanted."""

import argparse

from minillm.files import expand


def path(text):
    """-> a file, folder or model, with ~ expanded. An empty one is an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    if not text.startswith("~"):
        return text
    try:
        return str(expand(text))
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text):
    """-> an integer from 1 on"""
    return _integer(text, 1)


def natural(text):
    """-> an integer from 0 on"""
    return _integer(text, 0)


def _integer(text, least):
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from {least} on")
    return value


def seconds(text):
    """-> a number over 0"""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number over 0")
    return value
