"""M-SEN steps its optimisers by itself, so that it cannot accumulate gradients, and says so in one line."""

from pathlib import Path

import pytest
from lightning_fabric.utilities.exceptions import MisconfigurationException
from msen_training import train

from anatomark.cli import user_message


def test_msen_refuses_to_accumulate(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match="gradient accumulation is not supported") as refused:
        train(tmp_path, accumulate_grad_batches=2)
    message = user_message(refused.value)
    assert message is not None
    assert "accumulate_grad_batches=2" in message
