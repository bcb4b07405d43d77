"""Vector math in the expression language: one function an op, from Exprs of float32 or float64 to an Expr.

Written once for every emitter: range reduction with fma and bits, minimax polynomials (tables.py, computed by
tools/minimax.py), both sides of a case evaluated and one selected, so that everything runs in lanes. The errors, measured
in units of the last place, stand in tests/test_vector_math.py and are asserted there.
"""

from rushlight.codegen.mathlib.error import erf, erfc, erfinv
from rushlight.codegen.mathlib.exponential import cosh, exp, exp2, expm1, sigmoid, sinh, tanh
from rushlight.codegen.mathlib.gamma import digamma, lgamma
from rushlight.codegen.mathlib.inverse import acos, asin, atan, atan2
from rushlight.codegen.mathlib.logarithm import acosh, asinh, atanh, log, log1p, log2, log10
from rushlight.codegen.mathlib.power import cbrt, hypot, logaddexp, logaddexp2, pow
from rushlight.codegen.mathlib.trigonometric import cos, sin, tan
