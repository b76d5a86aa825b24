"""What every error of the project promises."""

from inspect import signature

import pytest

from sqzx import errors
from sqzx.errors import InputError, SqzxError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SqzxError)]


WITH_A_TEXT = [kind for kind in KINDS if "message" in signature(kind).parameters]  # others quote nothing


@pytest.mark.parametrize("kind", WITH_A_TEXT, ids=lambda kind: kind.__name__)
def test_a_message_is_one_line_that_can_be_printed(kind):
    text = str(kind("a\nb\x1b[31m\ud800é 卷积"))
    assert text == "a\ufffdb\ufffd[31m\ufffdé 卷积"
    assert text.encode()


def test_wrong_input_exits_with_2():
    assert {kind.exit_code for kind in KINDS if issubclass(kind, InputError)} == {2}
