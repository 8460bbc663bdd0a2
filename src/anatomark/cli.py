"""The command line: errors as one line, names of files and folders, and runs that bring their own configuration.

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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from anatomark.errors import AnatomarkError
from anatomark.files import RUN_DIR, describe_disk_error
from anatomark.instantiation import register_resolvers
from anatomark.multirun import expand_runs
from anatomark.quoting import hydra_word
from anatomark.runs import choice_word, display_path, load_config

log = logging.getLogger(__name__)

_KEY_NOTE = "full_key: "  # how Hydra marks what a constructor raised
_QUOTES = "'\""
# What stands before the message in the traceback that a worker process sends.
_WORKER_PREFIX = f"{AnatomarkError.__module__}.{AnatomarkError.__qualname__}: "
_PATHS = ("run=", "input=", "output=")


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


def job_errors(*, debug: bool, option: str = RUN_DIR) -> AbstractContextManager[None]:
    """Reports the errors of a job: at once where it is the only one, else in the log, so that the others go on.

    Args:
        debug: show tracebacks.
        option: the word of the command line by which the job writes to another folder.
    """
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode is RunMode.MULTIRUN:
        return logged_errors(job=display_path(Path(hydra_cfg.runtime.output_dir)), option=option)
    return readable_errors(debug=debug, option=option)


@contextmanager
def logged_errors(*, job: str, option: str = RUN_DIR) -> Iterator[None]:
    """Logs an error and raises it.

    Args:
        job: what the log calls the job of a multirun, which Hydra ends with this error when all jobs are done.
        option: as for :func:`job_errors`.
    """
    try:
        yield
    except Exception as error:
        log.error(
            "failed: %s: %s", job, user_message(error, option=option) or f"{type(error).__name__}: {_join(error)}"
        )
        raise


@contextmanager
def readable_errors(*, debug: bool, option: str = RUN_DIR) -> Iterator[None]:
    """Ends the program on bad input: one line on standard error, exit code 1.

    Args:
        debug: raise the error instead, so that its traceback is seen.
        option: as for :func:`job_errors`.
    """
    try:
        yield
    except Exception as error:
        message = user_message(error, option=option)
        if debug or message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def with_saved_choices(words: Sequence[str]) -> list[str]:
    """Puts the choices of the run named by ``run=`` before the words of the command line, where these leave them open.

    ``evaluate.py run=A data.fold=1`` composes with A's own data set, whose keys may then be overridden.

    Raises:
        OverrideParseException: the word cannot be parsed.
    """
    words = [_as_name(word) if word.startswith(_PATHS) else word for word in words]
    first = next((_first_value(word) for word in words if word.startswith("run=")), None)
    if not first:
        return words
    given = {word.split("=", 1)[0].lstrip("+") for word in words}
    choices = load_config(expand_runs(first)[0])["choices"].items()
    return [choice_word(group, choice) for group, choice in choices if choice and group not in given] + words


def _as_name(word: str) -> str:
    """Quotes a value that Hydra would make a number of: a folder may be called 777.

    Raises:
        AnatomarkError: such a value stands among others.
        OverrideParseException: the word cannot be parsed.
    """
    parsed = _parse(word).value()
    key, value = word.split("=", 1)
    if isinstance(parsed, int | float):
        return hydra_word(key, value)
    choices = parsed.list if isinstance(parsed, ChoiceSweep) else [parsed]
    if any(
        isinstance(one, int | float) for choice in choices for one in (choice if isinstance(choice, list) else [choice])
    ):
        raise AnatomarkError(f"{word}: quote every name that looks like a number, such as \"{key}=['2026.10',b]\"")
    return word


def _parse(word: str) -> Override:
    (parsed,) = OverridesParser.create().parse_overrides([word])
    return parsed


def named_path(cfg: DictConfig, key: str) -> Path | None:
    """The file or folder that a key names; None for none.

    Raises:
        AnatomarkError: it is a list or a mapping.
    """
    value = cfg[key]
    if value is not None and not isinstance(value, str):
        raise AnatomarkError(f"{key}={value} names no file or folder; give a single one")
    return Path(value) if value else None


def _first_value(word: str) -> str | None:
    """The first element of a word's list or sweep, or its only value; None for nothing."""
    parsed = _parse(word)
    if parsed.is_choice_sweep():
        return _first_value(f"run={next(parsed.sweep_string_iterator())}")
    value = parsed.value()
    values = value if isinstance(value, list) else [value]
    return None if not values or values[0] is None else str(values[0])


def user_message(error: BaseException, *, option: str = RUN_DIR) -> str | None:
    """What an error tells the user, on one line; None for a defect of the program, which deserves its traceback.

    Args:
        error: what ended the program.
        option: as for :func:`job_errors`.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, AnatomarkError):
            return _join(cause).rpartition(_WORKER_PREFIX)[2]
    for cause in chain:
        key = next((note.removeprefix(_KEY_NOTE) for note in _notes(cause) if note.startswith(_KEY_NOTE)), None)
        if key and isinstance(cause, (ValueError, TypeError, ImportError, *_lightning_errors())):
            return f"{key}: {_join(cause)}"
    if isinstance(error, OSError) and (fault := describe_disk_error(error, option=option)):
        return f"{error.filename}: {fault}" if error.filename else fault
    if isinstance(error, OverrideParseException):
        return _how_to_quote(error.override)
    if isinstance(error, (HydraException, OmegaConfBaseException, OSError, *_lightning_errors())):
        return _join(error)
    return None


def _how_to_quote(word: str) -> str:
    """What to do about a word that cannot be parsed, on one line."""
    word = " ".join(word.splitlines())
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word} is no key=value; see --help"
    # Quotes around a whole list would make a name of it.
    example = f"{key}=['Patient (1)',b]" if value.startswith(("[", "{")) else hydra_word(key, value.strip(_QUOTES))
    return (
        f"{word} cannot be read; a value with brackets, commas, '=' or letters other than a to z needs quotes inside"
        f' double ones, such as "{example}"'
    )


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
