"""The one kind of error that this host reports in a sentence, without a traceback."""


class HostError(Exception):
    """Something in the app, its settings or its surroundings is wrong; the text says what would be right."""
