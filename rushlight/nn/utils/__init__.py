"""Tools around modules: gradient clipping, weight reparametrization, pruning, ragged batches."""
