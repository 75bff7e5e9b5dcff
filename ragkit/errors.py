"""The one error type that the kit raises for bad input."""


class RagkitError(ValueError):
    """Bad input: the message names what was given, what was expected and what to do."""
