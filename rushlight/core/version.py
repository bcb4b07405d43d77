"""Which interface this is, and versions that compare as versions.

Programs ask `torch.__version__` which PyTorch they have before they choose how to call it. The answer that helps them
is the version of the interface spoken here, so `__version__` is that, with `+rushlight` behind it as PEP 440's local
part. rushlight's own version is RUSHLIGHT, published as `rushlight.version.rushlight`.

`TorchVersion` is a str. Ordered against a str, or against a tuple or list of parts, it compares as PEP 440 says
("2.9" < "2.13"); where one of the two is no version, as text.
"""

from __future__ import annotations

import re

from rushlight.core.naming import Public, published

INTERFACE = "2.13.0+rushlight"
RUSHLIGHT = "0.1.0"

_PATTERN = re.compile(
    r"\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_number>\d*))?"
    r"(?:-(?P<post_plain>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>\d*))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*",
    re.IGNORECASE,
)
_STAGE = {"a": 0, "alpha": 0, "b": 1, "beta": 1}  # every other name means a release candidate
_LAST = float("inf")


def key(text):
    """What a version sorts by; None where the text is no version."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    release = [int(n) for n in found["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    pre, dev = found["pre"], found["dev"]
    post = found["post_plain"] or (found["post"] and (found["post_number"] or "0"))
    if pre:
        stage = (_STAGE.get(pre.lower(), 2), int(found["pre_number"] or 0))
    else:  # 1.0.dev1 comes before 1.0a1, which comes before 1.0
        stage = (-1, 0) if dev and post is None else (_LAST, 0)
    local = re.split(r"[-_.]", found["local"].lower()) if found["local"] else None
    return (
        int(found["epoch"] or 0),
        release,
        stage,
        -1 if post is None else int(post),
        int(found["dev_number"] or 0) if dev else _LAST,
        [] if local is None else [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in local],
    )


def _text(value):
    """A version given as text or by its parts, as text; None for anything else."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (tuple, list)):
        return ".".join(map(str, value))
    return None


def _compared(method, equality=False):
    compare_text, compare_keys = getattr(str, method), getattr(tuple, method)

    def compare(self, other):
        text = _text(other)
        if text is None:
            return NotImplemented
        mine, theirs = key(self), key(text)
        if mine is not None and theirs is not None:
            return compare_keys(mine, theirs)
        if not isinstance(other, str) and not equality:
            return NotImplemented
        return compare_text(self, text)

    compare.__name__ = method
    compare.__qualname__ = f"TorchVersion.{method}"
    return compare


class TorchVersion(str, metaclass=Public):
    """A version: a str that is ordered as versions are, against other versions, text, and tuples of parts."""

    __slots__ = ()
    __hash__ = str.__hash__


for _name in ("__eq__", "__ne__"):
    setattr(TorchVersion, _name, _compared(_name, equality=True))
for _name in ("__lt__", "__le__", "__gt__", "__ge__"):
    setattr(TorchVersion, _name, _compared(_name))
published(TorchVersion, "TorchVersion", "rushlight.torch_version")

__all__ = ["INTERFACE", "RUSHLIGHT", "TorchVersion", "key"]
