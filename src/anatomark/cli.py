"""The command line of train.py and evaluate.py: errors as one line, and runs that bring their own configuration.

Imports nothing heavy, so that ``--help`` answers at once.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from anatomark.runs import choice_word, load_config, register_resolvers
from anatomark.errors import AnatomarkError


def run_command(main: Callable[[], Any]) -> None:
    """Runs a Hydra main function; bad input ends in one line on standard error and exit code 1.

    Args:
        main: the decorated function.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")  # its own, not the user's
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing, so errors are reported in one place
    debug = "debug=true" in [word.lower() for word in sys.argv[1:]]
    try:
        register_resolvers()
        sys.argv[1:] = with_saved_choices(sys.argv[1:])
        main()
    except (AnatomarkError, HydraException, OmegaConfBaseException) as error:
        if debug:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def with_saved_choices(words: Sequence[str]) -> list[str]:
    """Puts the choices of the run named by ``run=`` before the words of the command line, where these leave them open.

    ``evaluate.py run=A data.fold=1`` composes with A's own data set, whose keys may then be overridden.
    """
    run = next((word.split("=", 1)[1] for word in words if word.startswith("run=")), None)
    if run in (None, "", "null"):
        return list(words)
    first = run.strip("[]").split(",")[0]
    given = {word.split("=", 1)[0] for word in words}
    choices = load_config(first)["choices"]
    return [choice_word(group, choice) for group, choice in choices.items() if group not in given and choice] + list(words)


def one_line(error: BaseException) -> str:
    """The message of the innermost error that speaks to the user, on one line."""
    deepest: BaseException = error
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, AnatomarkError):
            deepest = seen
            break
        seen = seen.__cause__ or seen.__context__
    return " ".join(str(deepest).split())
