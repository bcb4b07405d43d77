"""What computes: the contract (base) and the backends that keep it. Knows rows and arrays, never a Tensor class."""
