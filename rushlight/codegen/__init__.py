"""From rows to machine code: loops from rows, loops to LLVM IR, IR to native code that runs on all cores.

Nothing here is imported before the first large kernel is needed, and nothing here knows a Tensor.
"""
