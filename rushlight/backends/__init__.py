"""What computes: the contract (base) and the backends that keep it. Knows rows and arrays, never a Tensor class.

To users this is torch.backends, the switches of libraries: the modules that switches.py makes.
"""

from rushlight.backends.switches import (
    cuda,
    cudnn,
    cusparselt,
    disable_global_flags,
    flags_frozen,
    kleidiai,
    mha,
    miopen,
    mkl,
    mkldnn,
    mps,
    nnpack,
    openmp,
    opt_einsum,
    quantized,
)

fp32_precision = "none"
