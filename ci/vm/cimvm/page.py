"""A page of docs/ as what it asks to be done: its blocks of code, in their order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)$")
# A file that the words before a block name first is what the block is the text of.
PATH = re.compile(r"^`(/[^`]+)`")


class PageError(Exception):
    """The page is not written as it is read here."""


@dataclass(frozen=True)
class Block:
    """A block of code: below which heading it stands, what its fence says, and the file that it is the text of."""

    step: str
    language: str
    text: str
    path: str | None


def blocks(page: str) -> list[Block]:
    """The blocks of a page."""
    found: list[Block] = []
    step, paragraph, inside, lines = "", "", None, [""]
    for line in page.splitlines():
        fence = FENCE.match(line)
        if inside is None and fence:
            inside, lines = fence[1], []
        elif inside is not None and line == "```":
            path = PATH.match(paragraph)
            found.append(Block(step, inside, "".join(f"{line}\n" for line in lines), path[1] if path else None))
            inside, paragraph = None, ""
        elif inside is not None:
            lines.append(line)
        elif line.startswith("## "):
            step, paragraph = line.removeprefix("## "), ""
        elif line:
            paragraph = line
    if inside is not None:
        raise PageError(f"the last block below `{step}` has no end")
    return found


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text with the words replaced that stand for what is a reader's own."""
    pattern = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return re.sub(rf"\b({pattern})\b", lambda found: words[found[0]], text)
