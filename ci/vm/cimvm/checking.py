"""What a check says of what it found."""


class CheckFailed(Exception):
    """What is there is not what should be."""


class Skipped(Exception):
    """It cannot be checked here; the text says why."""


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)
