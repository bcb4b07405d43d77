"""Distances and similarities between vectors. All are the engine's ops under their public names."""

from rushlight.nn.functional import _primitives as _p

pairwise_distance = _p.pairwise_distance
cosine_similarity = _p.cosine_similarity
pdist = _p.pdist
