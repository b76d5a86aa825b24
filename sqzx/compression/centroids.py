"""Training what weights share: codebooks as parameters, and kernels made of them (Han et al. 2016, 3.3).

A training step takes the codebooks in place of the kernels and differentiates through `expand`; codes never
change. The gradient of a value is then the sum of those of all weights that share it, and code 0, which is
for pruned weights, has none and stays 0.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array


def expand(codebooks: Mapping[str, Array], codes: Mapping[str, Array]) -> dict[str, Array]:
    """Return the kernel of each layer, in the shape of its codes, from codebooks (k,) float32.

    Pure and differentiable in the codebooks. Code 0 is 0.0 whatever the codebook says.
    """
    return {name: _expanded(codebook, codes[name]) for name, codebook in codebooks.items()}


def _expanded(codebook: Array, codes: Array) -> Array:
    # Codes are inside of the codebook, so what happens beyond it doesn't matter; "clip" is the cheapest.
    return jnp.take(jnp.asarray(codebook).at[0].set(0.0), codes.astype(jnp.int32), mode="clip")


def centroid_gradient(kernel_gradient: Array, codes: Array, size: int) -> Array:
    """Return the gradient (size,) of a codebook: that of a kernel summed over the weights of each code.

    That of code 0 is 0. It is what differentiation of `expand` gives, for whoever has the kernel's already.
    """
    sums = jnp.zeros(size, kernel_gradient.dtype).at[codes.astype(jnp.int32).ravel()]
    return sums.add(kernel_gradient.ravel()).at[0].set(0.0)
