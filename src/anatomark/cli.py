"""The command line of train.py and evaluate.py: errors as one line, and runs that bring their own configuration.

Imports nothing heavy, so that ``--help`` answers at once.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from anatomark.errors import AnatomarkError
from anatomark.files import describe_disk_error
from anatomark.instantiation import register_resolvers
from anatomark.multirun import expand_runs
from anatomark.runs import choice_word, display_path, load_config

log = logging.getLogger(__name__)

_KEY_NOTE = "full_key: "  # how Hydra marks what a constructor raised


def run_command(main: Callable[[], Any], *, prepare: Callable[[Sequence[str]], None] | None = None) -> None:
    """Runs a Hydra main function, whose job must answer for its own errors by :func:`job_errors`.

    Args:
        main: the decorated function.
        prepare: called before it with the words of the command line.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")  # its own, not the user's
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a run that resumes
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing, so errors are reported in one place
    with readable_errors(debug="debug=true" in [word.lower() for word in sys.argv[1:]]):
        register_resolvers()
        sys.argv[1:] = with_saved_choices(sys.argv[1:])
        if prepare is not None:
            prepare(sys.argv[1:])
        main()


def job_errors(*, debug: bool) -> AbstractContextManager[None]:
    """Reports the errors of a job: at once where it is the only one, else in the log, so that the others go on.

    Args:
        debug: show tracebacks.
    """
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode is RunMode.MULTIRUN:
        return logged_errors(job=display_path(Path(hydra_cfg.runtime.output_dir)))
    return readable_errors(debug=debug)


@contextmanager
def logged_errors(*, job: str) -> Iterator[None]:
    """Logs an error and raises it.

    Args:
        job: what the log calls the job of a multirun, which Hydra ends with this error when all jobs are done.
    """
    try:
        yield
    except Exception as error:
        log.error("failed: %s: %s", job, user_message(error) or f"{type(error).__name__}: {_join(error)}")
        raise


@contextmanager
def readable_errors(*, debug: bool) -> Iterator[None]:
    """Ends the program on bad input: one line on standard error, exit code 1, or 2 for words that cannot be parsed.

    Args:
        debug: raise the error instead, so that its traceback is seen.
    """
    try:
        yield
    except Exception as error:
        message = user_message(error)
        if debug or message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2 if isinstance(error, OverrideParseException) else 1)


def with_saved_choices(words: Sequence[str]) -> list[str]:
    """Puts the choices of the run named by ``run=`` before the words of the command line, where these leave them open.

    ``evaluate.py run=A data.fold=1`` composes with A's own data set, whose keys may then be overridden.
    """
    run = next((word.split("=", 1)[1] for word in words if word.startswith("run=")), None)
    if run in (None, "", "null", "[]"):
        return list(words)
    first = expand_runs(run.strip("[]").split(",")[0].strip(" '\""))[0]
    given = {word.split("=", 1)[0].lstrip("+") for word in words}
    choices = load_config(first)["choices"].items()
    return [choice_word(group, choice) for group, choice in choices if choice and group not in given] + list(words)


def user_message(error: BaseException) -> str | None:
    """What an error tells the user, on one line; None for a defect of the program, which deserves its traceback."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, AnatomarkError):
            return _join(cause)
    for cause in chain:
        key = next((note.removeprefix(_KEY_NOTE) for note in _notes(cause) if note.startswith(_KEY_NOTE)), None)
        if key and isinstance(cause, (ValueError, TypeError, ImportError, *_lightning_errors())):
            return f"{key}: {_join(cause)}"
    if isinstance(error, OSError) and (fault := describe_disk_error(error)):
        return f"{error.filename}: {fault}" if error.filename else fault
    if isinstance(error, (HydraException, OmegaConfBaseException, OSError, *_lightning_errors())):
        return _join(error)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _join(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _lightning_errors() -> tuple[type[BaseException], ...]:
    # Raised only where Lightning is loaded, and loading it here would be slow.
    module = sys.modules.get("lightning_fabric.utilities.exceptions")
    return () if module is None else (module.MisconfigurationException,)
