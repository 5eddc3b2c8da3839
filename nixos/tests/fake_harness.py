"""A harness for tests of the driver's loop: sends the requests of a file, and records the answers.

The directory of the socket holds everything: `requests` (a JSON list), `answers` (a line for each `done`).
A request may be one of the words `gone` (the harness has ended) and `refuse` (status 2).
"""

import json
import socket
import sys
import time
from pathlib import Path


def option(arguments: list[str], name: str) -> str | None:
    return arguments[arguments.index(name) + 1] if name in arguments else None


def refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def next_request(directory: Path) -> int:
    requests = json.loads((directory / "requests").read_text())
    asked = directory / "asked"
    number = len(asked.read_text()) if asked.exists() else 0
    if number == len(requests) or requests[number] == "gone":
        return 3
    if requests[number] == "refuse":
        return refuse("a request is open already")
    asked.write_text("." * (number + 1))
    print(json.dumps(requests[number]))
    return 0


def done(directory: Path, arguments: list[str]) -> int:
    if (directory / "refuse-done").exists():
        return refuse(f"request {arguments[0]} was answered already")
    if (directory / "gone-at-done").exists():
        return 3
    answer = {"id": int(arguments[0]), "error": option(arguments, "--error")}
    result = option(arguments, "--result")
    answer["result"] = None if result is None else json.loads(result)
    with (directory / "answers").open("a") as answers:
        answers.write(json.dumps(answer) + "\n")
    return 0


def scenario(directory: Path, arguments: list[str]) -> int:
    """Listens as the real one does, until the last request has been printed."""
    print(json.dumps({"arguments": arguments, "lab": json.loads(Path(option(arguments, "--lab") or "").read_text())}))
    print("in progress", file=sys.stderr)
    requests = json.loads((directory.parent / "requests").read_text())
    (directory / "requests").write_text(json.dumps(requests))
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(directory / "socket"))
    asked = directory / "asked"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if asked.exists() and len(asked.read_text()) == len(requests):
            return int(requests[-1]["exit"])
        time.sleep(0.01)
    return 1


def main(arguments: list[str]) -> int:
    directory = Path(option(arguments, "--socket") or "").parent
    if arguments[0] == "scenario":
        return scenario(directory, arguments)
    return next_request(directory) if arguments[1] == "next" else done(directory, arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
