"""torch.nn.common_types: names for the types of sizes, as annotations use them."""

from typing import TypeVar, Union

from rushlight import Tensor

T = TypeVar("T")


def _up_to(item, count):
    """An item or a tuple of `count` of them."""
    return Union[item, tuple[(item,) * count]]  # noqa: UP007


_scalar_or_tuple_any_t = Union[T, tuple[T, ...]]  # noqa: UP007
_size_any_t = Union[int, tuple[int, ...]]  # noqa: UP007
_size_any_opt_t = Union[int, None, tuple[int | None, ...]]  # noqa: UP007
_ratio_any_t = Union[float, tuple[float, ...]]  # noqa: UP007
_size_1_t, _size_2_t, _size_3_t, _size_4_t, _size_5_t, _size_6_t = (
    _up_to(int, n) for n in range(1, 7)
)
(
    _scalar_or_tuple_1_t,
    _scalar_or_tuple_2_t,
    _scalar_or_tuple_3_t,
    _scalar_or_tuple_4_t,
    _scalar_or_tuple_5_t,
    _scalar_or_tuple_6_t,
) = (_up_to(T, n) for n in range(1, 7))
_size_2_opt_t, _size_3_opt_t = (
    Union[int, None, tuple[(int | None,) * n]]  # noqa: UP007
    for n in (2, 3)
)
_ratio_2_t, _ratio_3_t = (_up_to(float, n) for n in (2, 3))
_tensor_list_t = Union[Tensor, tuple[Tensor, ...]]  # noqa: UP007
_maybe_indices_t = Union[Tensor, tuple[Tensor, Tensor]]  # noqa: UP007
