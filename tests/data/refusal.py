"""What a source says that cannot be read."""

import pytest

from anatomark.types import AnatomarkError


def refused(source):
    with pytest.raises(AnatomarkError) as caught:
        source()
    assert "\n" not in str(caught.value)
    return str(caught.value)
