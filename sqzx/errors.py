"""The errors that a user sees: one line each, with the exit code on the class."""


def printable(text: str) -> str:
    """Return a text on one line that any terminal takes: what can't be printed is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class SqzxError(Exception):
    """Something went wrong that one line explains; the command line prints it and exits.

    A message may quote a file or another program: what can't be printed in it is replaced.
    """

    exit_code = 1

    def __init__(self, message: str):
        super().__init__(printable(message))


class InputError(SqzxError):
    """The input was wrong: the line names the file, the key, what was found and the fix."""

    exit_code = 2


class ArchitectureError(InputError):
    """A well-typed configuration that describes no network: a width of 0, a map that shrank to nothing.

    A single network is refused with it; in a study such a point is skipped with this reason.
    """


class MissingDataError(InputError):
    """A data set that is not on this machine; the line holds the command that prepares it."""


class NonFiniteError(SqzxError):
    """Training met NaN or infinity; the trial stops, and has no accuracy."""


class Paused(SqzxError):
    """A trial was to go no further than this epoch for now; its state is saved."""

    def __init__(self, epoch: int, epochs: int):
        super().__init__(f"paused at epoch {epoch} of {epochs}")
        self.epoch = epoch


class Interrupted(SqzxError):
    """A trial or a study was asked to stop, and did so after saving its state."""

    exit_code = 130
