"""Padding: the engine's `pad` under its public name (modes constant, reflect, replicate,
circular)."""

from rushlight.nn.functional import _primitives as _p

pad = _p.pad
