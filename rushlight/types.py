"""torch.types: names for annotations."""

import os
from typing import IO, Any, TypeAlias

import rushlight
from rushlight import Size, SymBool, SymFloat, SymInt, Tensor

Number: TypeAlias = int | float | bool
Device: TypeAlias = str | int | rushlight.device | None
FileLike: TypeAlias = str | os.PathLike | IO[bytes]
IntLikeType: TypeAlias = int | SymInt
FloatLikeType: TypeAlias = float | SymFloat
BoolLikeType: TypeAlias = bool | SymBool
PySymType: TypeAlias = SymInt | SymFloat | SymBool
py_sym_types = (SymInt, SymFloat, SymBool)
_dtype, _device, _layout, _size = rushlight.dtype, rushlight.device, rushlight.layout, Size | list[int] | tuple[int, ...]
_int, _float, _bool, _complex = int, float, bool, complex
_symsize = Size | list[int | SymInt] | tuple[int | SymInt, ...]
_dispatchkey: TypeAlias = Any
_TensorOrTensors: TypeAlias = Tensor | list[Tensor] | tuple[Tensor, ...]
_TensorOrTensorsOrGradEdge: TypeAlias = Any
_TensorOrOptionalTensors: TypeAlias = Tensor | list[Tensor | None] | tuple[Tensor | None, ...]
Storage = getattr(rushlight, "UntypedStorage", object)

__all__ = ["BoolLikeType", "Device", "FileLike", "FloatLikeType", "IntLikeType", "Number", "PySymType", "Storage", "py_sym_types"]
