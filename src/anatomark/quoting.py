"""Words of the command line whose values Hydra and the shell would read as something else."""

import re


def quoted_word(key: str, name: str) -> str:
    """``key=name`` as Hydra and the shell read it, whatever letters the name has."""
    if re.fullmatch(r"[\w./-]+", name, re.ASCII):
        return f"{key}={name}"
    return f'"{hydra_word(key, name)}"'


def hydra_word(key: str, name: str) -> str:
    """``key=name`` as Hydra reads it, whatever the name looks like."""
    escaped = name.replace("'", "\\'")
    return f"{key}='{escaped}'"
