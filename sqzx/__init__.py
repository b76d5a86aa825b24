"""One network of the SqueezeNet design space: describe it, count it, train it."""

__version__ = "0.1.0"
