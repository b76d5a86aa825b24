"""Compression of trained networks: SVD, pruning, weight sharing, and the coded file."""
