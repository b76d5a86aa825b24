"""What can be wrong with a `.sqz` file: one error class a kind, each named after the check that failed."""

from sqzx.errors import InputError


class SqzError(InputError):
    """A file that is no valid `.sqz`; the subclass says which check refused it."""


class FormatError(SqzError):
    """No `.sqz`, or one that this program does not know how to read: magic, version, required flags."""


class LengthError(SqzError):
    """Cut short, too long, or with a count or length that does not fit the rest."""


class ChecksumError(SqzError):
    """A CRC-32 or the SHA-256 differs: a byte has changed."""


class MetadataError(SqzError):
    """The JSON text is not readable, or describes no network."""


class LayerError(SqzError):
    """A layer that is not the network's: another name or shape, or a field of no known meaning."""


class CodeTableError(SqzError):
    """A table of code lengths that makes no complete prefix code (Kraft sum not exactly 1)."""


class StreamError(SqzError):
    """Coded symbols that do not end where they should, or padding bits that are not 0."""


class PositionError(SqzError):
    """Relative indices that leave the kernel, or a filler that is none."""


class ValueRangeError(SqzError):
    """A value that no parameter can have: NaN or infinity, or a codebook that does not begin with 0.0."""
