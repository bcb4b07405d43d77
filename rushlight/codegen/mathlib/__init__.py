"""Vector math in the expression language: one function an op, from Exprs of float32 or float64 to an Expr.

Written once for every emitter: range reduction with fma and bits, minimax polynomials (tables.py, computed by
tools/minimax.py), both sides of a case evaluated and one selected, so that everything runs in lanes. The errors, measured
in units of the last place, stand in tests/test_vector_math.py and are asserted there.
"""

from rushlight.codegen.mathlib.error import erf
from rushlight.codegen.mathlib.exponential import exp, expm1, sigmoid, tanh
from rushlight.codegen.mathlib.logarithm import log, log1p
from rushlight.codegen.mathlib.trigonometric import cos, sin, tan
