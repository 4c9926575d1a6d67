"""Hides the secrets in text that people and logs get to see."""

from __future__ import annotations

import re

MASK = "***"

# Greedy up to the last @ before a space or quote, because a password may hold
# one: too much hidden is better than too little.
_PASSWORD = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://[^\s:/@'"]*):[^\s'"]*@""", re.IGNORECASE)
# One word before the @ is a user, or a token (NATS).
_TOKEN = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://)[^\s:/@'"]+@""", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&][^=&\s]*(?:password|passwd|secret|token)=)[^&\s'\"]+", re.IGNORECASE)


def mask_urls(text: str) -> str:
    """The text with what identifies somebody in its URLs hidden."""
    if "://" not in text:
        return text
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text)
