"""The one exception that speaks to the user; imports nothing, so the command line can catch it before torch loads."""


class AnatomarkError(Exception):
    """Input that cannot be used. The message names the file, row or key, what is wrong and what to do about it.

    The command-line entry points print the message as one line and exit with code 1.
    """
