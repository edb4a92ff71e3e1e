"""Addresses, which are local paths or URIs: no secret may be in one, as addresses are shown and stored."""

import re
from collections.abc import Mapping

from raycner.errors import InputError

PASSWORD = re.compile(r"://[^@]*:[^@]*@")
SECRET_OPTION = re.compile(
    r"[?&;][^=&;]*(secret|password|passwd|token|access_?key|credential|signature|\bsig\b)[^=&;]*=", re.I
)
"""Options of a URI that are called as secrets are."""


def shown(address: str) -> str:
    """An address as reports and errors may show it: without the user and the options that a URI can have."""
    scheme, mark, rest = address.partition("://")
    return scheme + mark + rest.rpartition("@")[2].partition("?")[0] if mark else address


def refuse_secret(address: str, location: str = "") -> None:
    """Raise `InputError` for a URI with a password, a key or a token; the error does not repeat it."""
    if "://" in address and (PASSWORD.search(address) or SECRET_OPTION.search(address)):
        hint = "leave it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what your service reads)"
        what = "a secret in a URI would end up in logs and ledgers"
        raise InputError(what, location=location or shown(address), hint=hint)


def refuse_texts(settings: object, location: str = "") -> None:
    """Raise `InputError` for a setting, at any depth, that is a URI with a secret or no text that a file can have."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            refuse_texts(value, f"{location}.{key}" if location else str(key))
    elif isinstance(settings, list | tuple):
        for place, value in enumerate(settings):
            refuse_texts(value, f"{location}.{place}")
    elif isinstance(settings, str):
        refuse_secret(settings, location)
        if "\0" in settings:
            raise InputError("a NUL character, which no name or path has", location=location, hint="leave it out")
        if not is_unicode(settings):
            hint = "rename the file or folder that has them in its name"
            raise InputError("bytes that are not UTF-8", location=location or repr(settings), hint=hint)


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8. Names of files whose bytes are not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
