"""E-mail addresses, IP addresses, and URLs with a password in them."""

import ipaddress
import re

from minillm.trust.detector import LETTER, Detector, compiled

# ---- e-mail (RFC 5321 and 6531): local part of at most 64 characters, @, a domain with a dot in it

_START = rf"[{LETTER}||[0-9_]]"
_LABEL = rf"[{LETTER}||[0-9]][{LETTER}||[0-9\-]]{{0,62}}+"
_EMAIL = compiled(rf"(?<!{_START}){_START}[{LETTER}||[0-9_.%+'~\-]]{{0,63}}+"
                  rf"@({_LABEL})(?:\.({_LABEL})){{1,8}}+")


def _check_email(text, match):
    """Cut off labels that can't be a top-level domain, such as the 2 of "a@b.com.2" """
    domain = match.captures(1) + match.captures(2)
    end = match.end()
    while len(domain) > 1 and not _is_top_level(domain[-1]):
        end -= len(domain.pop()) + 1
    return (match.start(), end) if len(domain) > 1 and text[match.start(1) - 2] != "." else None


def _is_top_level(label):
    return len(label) >= 2 and (label.isalpha() or label.lower().startswith("xn--"))


# ---- IPv4: four numbers from 0 to 255, without leading zeros; not a version number

_IPV4 = compiled(r"(?<![0-9A-Za-z_.])(?<![0-9A-Za-z]\-)[0-9]{1,3}+(?:\.[0-9]{1,3}+){3}+"
                 r"(?![0-9A-Za-z_]|\.[0-9]|\-[A-Za-z])")
_VERSION_BEFORE = compiled(
    r"(?i:version|versions|ver|release|releases|build|firmware|rev|revision|update|upgrade"
    r"|section|chapter|figure|版本|版|バージョン|第|章|节)[.:]?+[ ]?+[vV]?+$"
    r"|[A-Za-z]/$|[=<>~^]=[ ]?+$|[vV]\.?+[ ]?+$")
_BEFORE = 24  # characters in which such a word is looked for


def _check_ipv4(text, match):
    parts = match[0].split(".")
    if any(int(part) > 255 or len(part) > 1 and part[0] == "0" for part in parts):
        return None
    before = text[max(0, match.start() - _BEFORE) : match.start()]
    return None if _VERSION_BEFORE.search(before) else match.span()


# ---- IPv6 (RFC 4291): Python's ipaddress decides

_IPV6 = compiled(r"(?<![0-9A-Za-z_:.])(?=[0-9A-Fa-f]{0,4}+:)[0-9A-Fa-f:]{2,39}+"
                 r"(?:\.[0-9]{1,3}+){0,3}+(?:%[A-Za-z0-9]{1,15}+)?+(?![0-9A-Za-z_])")


def _check_ipv6(text, match):
    address = match[0]
    if address.endswith(":") and not address.endswith("::"):
        address = address[:-1]  # "at fe80::1: …"
    groups = [group for group in address.partition("%")[0].split(":") if group]
    # "add::face" is C++ or Rust, "::" an operator: an address has a digit, or many groups.
    if len(groups) < 4 and not any(character.isdigit() for character in "".join(groups)):
        return None
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return match.start(), match.start() + len(address)


# ---- scheme://user:password@host: the part before the @

_AUTHORITY = compiled(r"""(?<=[A-Za-z0-9]://)[^\s/?#"'<>`]{3,320}+""")


def _check_credentials(text, match):
    user_info, at, host = match[0].rpartition("@")
    user, colon, password = user_info.partition(":")
    if not at or not password or not host:
        return None
    return match.start(), match.start() + len(user_info)


DETECTORS = (
    Detector("CREDENTIALS", _AUTHORITY, _check_credentials, re.compile("://"), 0, 330),
    Detector("IP", _IPV4, _check_ipv4, re.compile(r"[0-9]\.[0-9]"), 3, 20),
    Detector("IP", _IPV6, _check_ipv6, re.compile(r":[0-9A-Fa-f]{0,4}:"), 4, 80),
    Detector("EMAIL", _EMAIL, _check_email, re.compile("@"), 64, 600),
)
