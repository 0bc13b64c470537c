"""Keys and tokens that say what they are: their issuers gave them prefixes so that they are found.

A password without a prefix looks like any other word, and is not found.
"""

import base64
import binascii
import json
import re

from minillm.trust.detector import Detector, compiled

# Issuer -> (how its keys begin, how they go on). The forms are those that the issuers document
# (GitHub's secret scanning lists most of them).
PREFIXES = {
    "GitHub": [(r"gh[pousr]_", r"[A-Za-z0-9]{36,255}+"),
               (r"github_pat_", r"[A-Za-z0-9_]{22,255}+")],
    "GitLab": [(r"gl(?:pat|dt|rt|ptt|ft|soat)\-", r"[A-Za-z0-9_\-]{20,255}+")],
    "AWS": [(r"A(?:KIA|SIA|ROA|IDA|GPA|NPA|NVA|BIA|CCA)", r"[A-Z0-9]{16}")],
    "Google": [(r"AIza", r"[A-Za-z0-9_\-]{35}"), (r"ya29\.", r"[A-Za-z0-9_\-]{20,500}+"),
               (r"GOCSPX\-", r"[A-Za-z0-9_\-]{28}")],
    "Slack": [(r"xox[abeoprs]\-", r"[A-Za-z0-9\-]{10,250}+"),
              (r"xapp\-", r"[0-9]\-[A-Za-z0-9\-]{20,250}+"),
              (r"hooks\.slack\.com/services/", r"[A-Za-z0-9/]{20,100}+")],
    "Stripe": [(r"[srp]k_(?:live|test)_", r"[A-Za-z0-9]{16,247}+"),
               (r"whsec_", r"[A-Za-z0-9+/=]{24,100}+")],
    "Hugging Face": [(r"hf_", r"[A-Za-z0-9]{30,60}+")],
    "npm": [(r"npm_", r"[A-Za-z0-9]{36}")],
    "PyPI": [(r"pypi\-AgE", r"[A-Za-z0-9_\-]{50,250}+")],
    "SendGrid": [(r"SG\.", r"[A-Za-z0-9_\-]{16,32}+\.[A-Za-z0-9_\-]{16,64}+")],
    "Twilio": [(r"(?:SK|AC)(?=[0-9a-f]{8})", r"[0-9a-f]{32}")],
    "Mailgun": [(r"key\-", r"[0-9a-f]{32}")],
    "DigitalOcean": [(r"do[opr]_v1_", r"[0-9a-f]{64}")],
    "Shopify": [(r"shp(?:at|ca|pa|ss)_", r"[0-9A-Fa-f]{32}")],
    "Telegram": [(r"[0-9]{8,10}:AA", r"[A-Za-z0-9_\-]{33}")],
    "Alibaba Cloud": [(r"LTAI", r"[A-Za-z0-9]{12,30}+")],
    "Tencent Cloud": [(r"AKID", r"[A-Za-z0-9]{32}")],
    "age": [(r"AGE\-SECRET\-KEY\-1", r"[0-9A-Z]{58}")],
    "xAI, Groq": [(r"(?:xai\-|gsk_)", r"[A-Za-z0-9]{40,100}+")],
}
_FORMS = [form for forms in PREFIXES.values() for form in forms]
_PREFIXED = compiled(r"(?<![A-Za-z0-9_])(?:"
                     + "|".join(begin.replace("{8,10}", "{8,10}+") + rest for begin, rest in _FORMS)
                     + r")(?![A-Za-z0-9])")

# OpenAI, Anthropic, OpenRouter, DeepSeek, …: "sk-" also begins ordinary words, but without digits
_SK = compiled(r"(?<![A-Za-z0-9_\-])sk\-[A-Za-z0-9_\-]{20,250}+")


def _check_sk(text, match):
    rest = match[0].rstrip("-_")
    if not any(character.isdigit() for character in rest) or max(map(len, rest.split("-"))) < 16:
        return None
    return match.start(), match.start() + len(rest)


# Keys without a prefix of their own, behind the name that always stands before them
_NAMED = compiled(
    r"""(?i:(?:aws_?+)?+secret_?+(?:access_?+)?+key|AccountKey)["']?+[ ]?+"""
    r"""[=:]{1,2}+[ ]?+["']?+([A-Za-z0-9/+]{40,88}+={0,2}+)(?![A-Za-z0-9/+=])"""
    r"""|(?i:authorization)["']?+[ ]?+:[ ]?+["']?+(?i:bearer|basic|token)[ ]"""
    r"""([A-Za-z0-9._~+/=\-]{8,2048}+)"""
    r"""|(?i:bearer)[ ]([A-Za-z0-9._~+/=\-]{20,2048}+)""")


def _check_named(text, match):
    group = match.lastindex
    value = match[group]
    is_word = group == 3 and not any(character.isdigit() for character in value)
    return None if is_word else match.span(group)


# JSON Web Tokens (RFC 7519): header.payload.signature, where the header is base64 of {"alg": …}
_JWT = compiled(r"(?<![A-Za-z0-9_\-.])(ey[A-Za-z0-9_\-]{10,2048}+)\.[A-Za-z0-9_\-]{4,8192}+"
                r"\.[A-Za-z0-9_\-]{0,2048}+")


def _check_jwt(text, match):
    try:
        header = json.loads(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return match.span() if isinstance(header, dict) and "alg" in header else None


# Private keys (RFC 7468 and OpenPGP), to their end; without one, to the last line that is base64.
# The body can't contain "-----", so two attempts never read the same characters.
_PRIVATE_KEY = compiled(
    r"\-{5}BEGIN [A-Z0-9 ]{0,30}+(?<=PRIVATE KEY|PRIVATE KEY BLOCK)\-{5}"
    r"(?:(?:[^\-]|\-(?!\-{4})){1,20000}+\-{5}END [A-Z0-9 ]{0,40}+\-{5}"
    r"|(?:(?:\s|\\[nr]){1,3}+[A-Za-z0-9+/=]{16,80}+){0,200}+)")


def _check_whole(text, match):
    return match.span()


DETECTORS = (
    Detector("SECRET", _PRIVATE_KEY, _check_whole, re.compile("-----BEGIN "), 0, 20_200),
    Detector("SECRET", _JWT, _check_jwt, re.compile(r"ey[A-Za-z0-9_\-]{10}"), 0, 12_400),
    Detector("SECRET", _PREFIXED, _check_whole,
             re.compile("|".join(begin for begin, _ in _FORMS)), 0, 600),
    Detector("SECRET", _SK, _check_sk, re.compile("sk-"), 0, 300),
    Detector("SECRET", _NAMED, _check_named, re.compile(r"[KkBbAa][EeUu][YyAaTt]"), 24, 2_200),
)
