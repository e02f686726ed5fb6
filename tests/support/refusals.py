"""Expecting a refusal of the control API."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callgate.errors import Refused


@contextmanager
def refused(code: str, saying: str = "") -> Iterator[None]:
    """The block is refused with this code, and with these words in the sentence."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert saying in caught.value.sentence
