"""The source of random bits: a Mersenne Twister that walks exactly as PyTorch's CPU generator
does.

Mechanism.  NumPy's MT19937 makes the 32-bit words (same recurrence, same seeding: Knuth's
initialiser on the low 32 bits of the seed).  NumPy hands words out with some overhead per call,
so a generator keeps the current block of 624 tempered words and serves small draws as slices of
it; large draws run block by block. On top of the words a generator owns two cached normals (Box-
Muller makes them in pairs), one for double and one for float arithmetic, because PyTorch keeps
both in its state.

State.  `get_state()` is PyTorch's CPU layout, 5056 bytes, so that checkpoints travel both ways:

    offset  type         content
         0  uint64       initial seed
         8  int32        words left before the next twist, plus one
        12  int32        1: seeded
        16  uint64       index of the next word in the block
        24  uint64[624]  the twister's block (32 bits of each are used)
      5016  float64[3]   0, cached double normal, 0
      5040  int32        1 if the cached double normal is there
      5048  float32      cached float normal
      5052  uint8        1 if the cached float normal is there

Invariants.  NumPy's twister always stands at the end of a block (its key is the block that
`_words` was tempered from); `_at` is the place in that block.  `_fresh` is true between seeding
and the first word: the block is then the seed's own, not yet twisted, and PyTorch writes its
index as 0 instead of 624. Word arrays handed out are read-only: they may be windows of the kept
block.  `lock` is re-entrant; a caller that needs several draws to stay together holds it, each
draw by itself takes it.
"""

import os
import sys
import threading

import numpy as np

from rushlight.core.forking import GENERATOR, whole_at_fork

BLOCK = 624
CHUNK = 32 * BLOCK  # words per call for large draws: the 64-bit temporary stays in the cache
STATE_SIZE = 5056
DEFAULT_SEED = 67280421310721

_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "block", "normal", "has_normal",
                  "float_normal", "has_float_normal"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", BLOCK), ("<f8", 3), "<i4", "<f4", "u1"],
        "offsets": [0, 8, 12, 16, 24, 5016, 5040, 5048, 5052],
        "itemsize": STATE_SIZE,
    }
)  # fmt: skip
_EMPTY = np.empty(0, np.uint32)
MANY = 1 << 13  # words from which MANY_WORDS is asked
#: set by backends/streams.py: f(twister, out) writes whole blocks of words by a kernel; whether it has
MANY_WORDS = [lambda twister, out: False]
_HALF = np.uint64(32)


class Generator:
    """A stream of random words, equal to that of PyTorch's CPU generator with the same seed.

    `next_normal` and `next_normal_float` are the cached second normals (a Python float or None).
    """

    __slots__ = (
        "_bits", "_seeder", "_words", "_at", "_fresh", "_seed",
        "next_normal", "next_normal_float", "lock", "__weakref__",
    )  # fmt: skip
    device = "cpu"

    def __init__(self):
        self._bits = self._seeder = None  # made with the first word: numpy.random is slow to import
        self.lock = threading.RLock()
        self._reseed(DEFAULT_SEED)

    # -- seeding --------------------------------------------------------------------------------

    def _reseed(self, seed):
        with self.lock:
            self._seed = seed
            if self._seeder is not None:
                self._seeder.seed(seed & 0xFFFFFFFF)
            self._words, self._at, self._fresh = _EMPTY, BLOCK, True
            self.next_normal = self.next_normal_float = None

    def _twister(self):
        """NumPy's twister, seeded when it is first needed."""
        if self._bits is None:
            self._bits = np.random.MT19937(0)
            self._seeder = np.random.RandomState(self._bits)
            self._seeder.seed(self._seed & 0xFFFFFFFF)
        return self._bits

    def manual_seed(self, seed):
        """Seed the stream with an int in [-2**63, 2**64) and return self.

        A negative seed means seed + 2**64. Only the low 32 bits choose the stream; `initial_seed`
        reports all of them.
        """
        if type(seed) is bool or not isinstance(seed, int):
            if isinstance(seed, np.integer):
                raise TypeError(f"an integer is required: write manual_seed(int({seed!r}))")
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(2**63) <= seed < 2**64:
            raise ValueError(
                f"Overflow when unpacking long long: the seed {seed} is outside [-2**63, 2**64)"
            )
        self._reseed(int(seed) & 0xFFFFFFFFFFFFFFFF)
        return self

    def seed(self):
        """Seed from the operating system's entropy; returns the seed taken."""
        seed = int.from_bytes(os.urandom(8), "little")
        self._reseed(seed)
        return seed

    def initial_seed(self):
        """The seed last set, as a number in [0, 2**64)."""
        return self._seed

    # -- state ----------------------------------------------------------------------------------

    def _pack(self):
        out = np.zeros((), _STATE)
        with self.lock:
            out["seed"] = self._seed
            out["seeded"] = 1
            out["left"] = BLOCK + 1 - self._at
            out["next"] = 0 if self._fresh else self._at
            out["block"] = self._twister().state["state"]["key"]
            if self.next_normal is not None:
                out["normal"][1] = self.next_normal
                out["has_normal"] = 1
            if self.next_normal_float is not None:
                out["float_normal"] = self.next_normal_float
                out["has_float_normal"] = 1
        return np.frombuffer(bytearray(out.tobytes()), np.uint8)

    def _unpack(self, state):
        if not isinstance(state, np.ndarray) or state.dtype != np.uint8:
            found = state.dtype if isinstance(state, np.ndarray) else type(state).__name__
            raise TypeError(f"RNG state must be a torch.ByteTensor (uint8), but got {found}")
        if state.size != STATE_SIZE:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_SIZE} but found the input RNG "
                f"state size to be {state.size}"
            )
        new = np.frombuffer(state.tobytes(), _STATE)[0]
        left, after = int(new["left"]), int(new["next"])
        fresh = left == 1 and after == 0
        in_step = fresh or left + after == BLOCK + 1
        if new["seeded"] != 1 or not 0 < left <= BLOCK or not in_step:
            raise RuntimeError(
                "Invalid mt19937 state: these bytes are not what get_state() of a generator gives"
            )
        with self.lock:
            key = new["block"].astype(np.uint32)
            pos = BLOCK if fresh else 0
            self._twister().state = {"bit_generator": "MT19937", "state": {"key": key, "pos": pos}}
            self._words, self._at, self._fresh = _EMPTY, BLOCK, fresh
            if not fresh:
                self._refill()
                self._at = after
            self._seed = int(new["seed"])
            self.next_normal = float(new["normal"][1]) if new["has_normal"] else None
            self.next_normal_float = float(new["float_normal"]) if new["has_float_normal"] else None

    def get_state(self):
        """The whole state as a uint8 array of 5056 bytes, PyTorch's own layout."""
        return self._pack()

    def set_state(self, state):
        """Restore what `get_state` (here or in PyTorch) gave: a uint8 array of 5056 bytes."""
        self._unpack(state)

    def clone(self):
        """An independent generator at the same place of the same stream."""
        new = type(self)()
        new._unpack(self._pack())
        return new

    clone_state = clone

    def __reduce__(self):
        return type(self), (), self._pack()

    def __setstate__(self, state):
        self._unpack(state)

    # -- words ----------------------------------------------------------------------------------

    def _refill(self):
        words = self._twister().random_raw(BLOCK).astype(np.uint32)
        words.flags.writeable = False
        self._words, self._at, self._fresh = words, 0, False

    def u32(self, n):
        """The next n words, uint32, read-only."""
        with self.lock:
            at = self._at
            end = at + n
            if end <= BLOCK:
                self._at = end
                return self._words[at:end]
            out = np.empty(n, np.uint32)
            done = BLOCK - at
            out[:done] = self._words[at:]
            whole = done + (n - done) // BLOCK * BLOCK
            if whole - done >= MANY and MANY_WORDS[0](self._twister(), out[done:whole]):
                done = whole
            while done < whole:
                size = min(CHUNK, whole - done)
                out[done : done + size] = self._twister().random_raw(size)
                done += size
            self._fresh = False
            if done == n:
                self._words, self._at = out[n - BLOCK :].copy(), BLOCK
            else:
                self._refill()
                out[done:] = self._words[: n - done]
                self._at = n - done
            out.flags.writeable = False
            return out

    def u64(self, n):
        """The next n pairs of words as uint64, the first word of a pair being the high half."""
        pairs = self.u32(2 * n)
        if sys.byteorder == "big":
            return pairs.view(np.uint64)
        pairs = pairs.view(np.uint64)
        out = pairs << _HALF
        out |= pairs >> _HALF
        return out

    @property
    def remaining(self):
        """How many words of the current block are still to come."""
        return BLOCK - self._at

    def rewind(self, n):
        """Give back the last n words drawn; they must all lie in the current block."""
        with self.lock:
            if n > self._at or (n and not self._words.size):
                raise ValueError(f"cannot give back {n} words: {self._at} of this block were drawn")
            self._at -= n


DEFAULT = Generator()
whole_at_fork(DEFAULT.lock, GENERATOR)
