"""The object cache on disk: machine code by what it was compiled from.

An entry is the file `<key>.o` of the cache's folder. The key is a hash of everything that decides the object: the
module's text and the caller's `about` (processor, features, versions, passes). The file is a hash of key and object,
then the object, so that an entry that is torn, damaged, or was filed under another name is not loaded: it is compiled
and written again.

RUSHLIGHT_CACHE names the folder; "" or "0" switches the cache off. Without it the folder is the user's own
(~/.cache/rushlight, $XDG_CACHE_HOME/rushlight, ~/Library/Caches/rushlight, %LOCALAPPDATA%/rushlight).

Invariants
- Processes share the folder without locks: an entry is written beside its place and moved there in one step; whoever
  reads holds the old file or the new one, and both are right.
- Only files that this user owns and nobody else may write are read. The folder is made with mode 0700; the default
  folder is used only if it is this user's.
- No error of the disk reaches the caller: what cannot be read is compiled, what cannot be written is not kept.
- At most about LIMIT bytes are kept. A hit older than RECENT renews its file's time, a sweep removes the oldest times
  first. Sweeps come by chance, one for each LIMIT / 32 bytes written by whatever processes, so none has to keep count.
"""

from __future__ import annotations

import os
import random
import stat
import sys
import tempfile
import time
from functools import cache
from hashlib import sha256

LIMIT = 256 << 20  # bytes
RECENT = 3600.0  # seconds within which a second use is not noted
ABANDONED = 3600.0  # seconds after which the temporary file of a process that died is removed
_MAGIC = b"rushlight object 1\n"
_HEAD = len(_MAGIC) + 32


def _mine(status):
    """Whether a file is this user's, and nobody else may write it."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid() and not status.st_mode & 0o022


def default_folder():
    """The cache's folder where the environment names none."""
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local"), "rushlight", "objects")
    home = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    asked = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(asked if os.path.isabs(asked) else home, "rushlight", "objects")


@cache
def folder():
    """The cache's folder, made if need be; None where there is no cache. The environment is read once."""
    asked = os.environ.get("RUSHLIGHT_CACHE")
    if asked in ("", "0"):
        return None
    path = os.path.abspath(asked or default_folder())
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError:
        return None
    return path if stat.S_ISDIR(status.st_mode) and (asked or _mine(status)) else None


def key_of(text, about=()):
    """The name of an entry."""
    h = sha256(repr(tuple(about)).encode())
    h.update(text.encode())
    return h.hexdigest()[:40]


def _seal(key, image):
    h = sha256(key.encode())
    h.update(image)
    return _MAGIC + h.digest()


def read(key):
    """The object of an entry, or None."""
    place = folder()
    if place is None:
        return None
    path = os.path.join(place, key + ".o")
    try:
        with open(path, "rb", buffering=0) as f:
            status = os.fstat(f.fileno())
            data = f.read() if stat.S_ISREG(status.st_mode) and _mine(status) else b""
        image = data[_HEAD:]
        if not image or data[:_HEAD] != _seal(key, image):
            return None
        if time.time() - status.st_mtime > RECENT:
            os.utime(path)
        return image
    except OSError:
        return None


def write(key, image):
    """Keep an object; nothing happens where that cannot be done."""
    place = folder()
    if place is None:
        return
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(".part", key[:8] + ".", place)  # readable by this user alone
        with os.fdopen(handle, "wb") as f:
            f.write(_seal(key, image) + image)
        os.replace(temporary, os.path.join(place, key + ".o"))
        temporary = None
    except OSError:
        pass
    finally:
        if temporary is not None:
            _remove(temporary)
    if random.random() < (len(image) + _HEAD) / (LIMIT / 32):
        sweep()


def sweep(limit=None):
    """Remove the entries used longest ago until 7/8 of the limit are left, and what dead processes left behind."""
    place, limit = folder(), LIMIT if limit is None else limit
    entries, total, now = [], 0, time.time()
    try:
        with os.scandir(place) as listing:
            for e in listing:
                try:
                    status = e.stat(follow_symlinks=False)
                except OSError:
                    continue  # another process's sweep was first
                if e.name.endswith(".o"):
                    entries.append((status.st_mtime, status.st_size, e.path))
                    total += status.st_size
                elif e.name.endswith(".part") and now - status.st_mtime > ABANDONED:
                    _remove(e.path)
    except OSError:
        return
    if total <= limit:
        return
    for _, size, path in sorted(entries):
        if total <= limit - limit // 8:
            return
        _remove(path)
        total -= size


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass


def fetch(text, about, compile):
    """compile(text), from the cache where it is there. `about` (strings) is what else decides the object."""
    if folder() is None:
        return compile(text)
    key = key_of(text, about)
    image = read(key)
    if image is None:
        image = compile(text)
        write(key, image)
    return image
