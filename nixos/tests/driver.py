"""The loop between a scenario and the machines that it breaks.

`cim-harness scenario NAME --substrate driver` runs on the operator's machine and asks; this performs
what it asks on the other machines and answers. The machines have the API of the NixOS test driver:
a NixOS test and ci/vm both run this very file.

A scenario's end is the harness's exit status. What the driver itself cannot do is an answer with
`--error`; only a harness that is gone, or that refuses an answer, ends the loop with DriverError.
"""

import base64
import json
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

HARNESS = "cim-harness"
# The harness bounds every wait of a scenario by itself; this limit is for a harness that is stuck.
NEXT_SECONDS = 3600
# `driver done` and its result are one argument of a shell's command line, which the kernel limits to
# 128 KiB, as base64.
RESULT_BYTES = 64_000
OUTPUT_BYTES = 65_536
# A harness that answered `next` with status 3 is about to exit, or has exited.
GONE_SECONDS = 10


class DriverError(Exception):
    """The scenario cannot be driven to its end."""


class Machine(Protocol):
    """The part of the test driver's machines that is used here."""

    @property
    def name(self) -> str: ...
    def start(self) -> None: ...
    def crash(self) -> None: ...
    def shutdown(self) -> None: ...
    def block(self) -> None: ...
    def unblock(self) -> None: ...
    def succeed(self, *commands: str, timeout: int | None = None) -> str: ...
    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]: ...


class Operator(Protocol):
    """The machine that the harness runs on."""

    def succeed(self, *commands: str, timeout: int | None = None) -> str: ...
    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]: ...


def delete_disk(machine: Machine) -> None:
    """Gives a machine of the NixOS test driver that is off a new disk: its start makes the missing file."""
    state: Path = getattr(machine, "state_dir")
    for image in state.glob("*.qcow2"):
        image.unlink()


class Loop:
    """Asks, performs and answers until the scenario is over."""

    def __init__(
        self,
        operator: Operator,
        machines: Iterable[Machine],
        socket: str,
        ended: Callable[[], int | None],
        *,
        harness: str = HARNESS,
        new_disk: Callable[[Any], None] = delete_disk,
        log: Callable[[str], None] = print,
    ) -> None:
        """`ended` gives the harness's exit status once it has ended; `new_disk` empties a machine's disk."""
        self.operator = operator
        self.machines: Mapping[str, Machine] = {machine.name: machine for machine in machines}
        self.socket = socket
        self.ended = ended
        self.harness = harness
        self.new_disk = new_disk
        self.log = log
        self.running: set[str] = set()

    def run(self) -> int:
        """Runs the scenario to its end and returns its exit status."""
        self.await_harness()
        while True:
            request = self.next()
            if request is None:
                return self.gone()
            if request.get("do") == "end":
                self.log(f"end: {request.get('verdict')}")
                return int(request["exit"])
            began = time.monotonic()
            try:
                answer = self.perform(request)
                outcome = "done"
            except Exception as error:
                outcome = one_line(error)
                answer = ("--error", outcome)
            seconds = time.monotonic() - began
            self.log(f"{describe(request)}: {outcome} after {seconds:.1f} s")
            if not self.done(request["id"], answer):
                return self.gone()

    def await_harness(self, seconds: float = 60) -> None:
        """Waits until a harness that was just started listens, or has ended."""
        until = time.monotonic() + seconds
        while self.operator.execute(f"test -S {shlex.quote(self.socket)}")[0] != 0:
            if self.ended() is not None:
                return
            if time.monotonic() > until:
                raise DriverError(f"the harness does not listen on `{self.socket}` after {seconds:.0f} s")
            time.sleep(0.1)

    def next(self) -> dict[str, Any] | None:
        """Returns the next request, or None if the harness has ended."""
        status, output = self.call("next", timeout=NEXT_SECONDS)
        if status == 3:
            return None
        if status != 0:
            raise DriverError(f"`driver next` ended with status {status}: {one_line(output)}")
        request = json.loads(output)
        if not isinstance(request, dict):
            raise DriverError(f"`driver next` printed no JSON object: {one_line(output)}")
        return request

    def done(self, number: int, answer: tuple[str, str] | None) -> bool:
        """Answers a request, with an option and its value; returns False if the harness has ended."""
        words = f"done {number:d}"
        if answer is not None:
            option, value = answer
            encoded = base64.b64encode(value.encode()).decode()
            words += f' {option} "$(echo {encoded} | base64 -d)"'
        status, output = self.call(words, timeout=60)
        if status not in (0, 3):
            raise DriverError(f"`driver done {number}` ended with status {status}: {one_line(output)}")
        return status == 0

    def call(self, words: str, timeout: int) -> tuple[int, str]:
        """Calls `cim-harness driver`; the output is stderr's when it fails."""
        errors = shlex.quote(f"{self.socket}.stderr")
        command = f"{shlex.quote(self.harness)} driver {words} --socket {shlex.quote(self.socket)}"
        return self.operator.execute(
            f"{command} 2>{errors} || {{ status=$?; cat {errors}; exit $status; }}", timeout=timeout
        )

    def gone(self) -> int:
        """Returns the status of a harness that ended without a request, as it does when it skips."""
        until = time.monotonic() + GONE_SECONDS
        while (status := self.ended()) is None:
            if time.monotonic() > until:
                raise DriverError(f"no harness answers on `{self.socket}`, and it did not exit either")
            time.sleep(0.1)
        self.log(f"the harness ended with status {status}")
        return status

    def perform(self, request: Mapping[str, Any]) -> tuple[str, str] | None:
        """Carries out a request; returns the answer if it is more than that it is done."""
        do, node = request.get("do"), request.get("node")
        machine = self.machines.get(str(node))
        if machine is None:
            raise DriverError(f"there is no machine `{node}`; there are {', '.join(sorted(self.machines))}")
        is_running = machine.name in self.running
        if do == "start":
            if is_running:
                raise DriverError(f"`{node}` is running already")
            self.start(machine, str(request.get("disk")))
            if request.get("wait", True):
                machine.succeed("true")
            return None
        if do not in ("stop", "crash", "block", "unblock", "exec"):
            raise DriverError(f"this driver does not know how to `{do}`")
        if not is_running:
            raise DriverError(f"cannot {do} `{node}`: it is not running")
        if do == "exec":
            outcome = execute(machine, str(request["command"]), int(request["timeout_seconds"]))
            return "--result", encode(outcome)
        if do == "stop":
            machine.shutdown()
        elif do == "crash":
            machine.crash()
        elif do == "block":
            machine.block()
        else:
            machine.unblock()
        if do in ("stop", "crash"):
            self.running.discard(machine.name)
        return None

    def start(self, machine: Machine, disk: str) -> None:
        """Starts a machine; the next command in its shell waits until the shell answers."""
        if disk == "new":
            self.new_disk(machine)
        elif disk != "kept":
            raise DriverError(f"`{machine.name}` cannot start with disk `{disk}`: it is `new` or `kept`")
        machine.start()
        # From here on it runs, even without its shell: it can be crashed and stopped.
        self.running.add(machine.name)


def execute(machine: Machine, command: str, timeout: int) -> dict[str, Any]:
    """Runs a command in a machine's root shell: its status, stdout and stderr, told apart.

    The files lie in memory: a full disk is something that a scenario may ask for. 124 is the status
    of a command that did not end in time.
    """
    script = (
        "out=$(mktemp -d -p /run); status=0; "
        f"timeout --kill-after=5 {timeout:d} bash -c {shlex.quote(command)} "
        "</dev/null >$out/1 2>$out/2 || status=$?; "
        f"for stream in 1 2; do tail -c {OUTPUT_BYTES} $out/$stream | base64 -w 0; echo; done; "
        "rm -r $out; echo $status"
    )
    status, output = machine.execute(script, timeout=timeout + 60)
    if status != 0:
        raise DriverError(f"the shell of `{machine.name}` ended with status {status}: {one_line(output)}")
    stdout, stderr, inner = output.splitlines()
    return {
        "status": int(inner),
        "stdout": base64.b64decode(stdout).decode(errors="replace"),
        "stderr": base64.b64decode(stderr).decode(errors="replace"),
    }


def encode(outcome: Mapping[str, Any]) -> str:
    """Returns a command's outcome as JSON, with the beginnings of its outputs left out until it is short enough."""
    encoded = json.dumps(outcome)
    while len(encoded) > RESULT_BYTES:
        longest = max(("stdout", "stderr"), key=lambda name: len(outcome[name]))
        outcome = {**outcome, longest: outcome[longest][-(len(outcome[longest]) // 2) :]}
        encoded = json.dumps(outcome)
    return encoded


def describe(request: Mapping[str, Any]) -> str:
    """Returns a request in a few words, for the log."""
    words = [str(request.get("do")), str(request.get("node"))]
    words += [str(request[key]) for key in ("disk", "command") if key in request]
    return one_line(" ".join(words), 160)


def one_line(text: object, limit: int = 500) -> str:
    """Returns any text as one line of at most `limit` characters."""
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= limit else line[: limit - 1] + "…"


def run_scenario(
    operator: Operator,
    machines: Iterable[Machine],
    name: str,
    lab: Mapping[str, Any],
    flags: Sequence[str] = (),
    *,
    directory: str = "/var/lib/cim-scenario",
    harness: str = HARNESS,
    new_disk: Callable[[Any], None] = delete_disk,
    log: Callable[[str], None] = print,
) -> int:
    """Starts the harness on the operator and drives the scenario, for a NixOS test.

    `directory`, on the operator, then holds `lab.json`, the `report` (stdout), the `progress` (stderr) and
    the `status`, from a run that failed too.
    """
    place = shlex.quote(directory)
    encoded = base64.b64encode(json.dumps(lab).encode()).decode()
    socket = f"{directory}/socket"
    words = [harness, "scenario", name, "--substrate", "driver", "--lab", f"{directory}/lab.json"]
    command = shlex.join([*words, "--socket", socket, *flags])
    operator.succeed(
        f"rm -rf {place}; mkdir -p {place}; echo {encoded} | base64 -d >{place}/lab.json",
        # The status appears in one piece, once everything else is written.
        f"cd {place}; ( status=0; {command} >report 2>progress </dev/null || status=$?; "
        "echo $status >.status; mv .status status ) >/dev/null 2>&1 &",
    )

    def ended() -> int | None:
        status, output = operator.execute(f"cat {place}/status 2>/dev/null")
        return int(output) if status == 0 else None

    loop = Loop(operator, machines, socket, ended, harness=harness, new_disk=new_disk, log=log)
    status = loop.run()
    until = time.monotonic() + GONE_SECONDS
    while ended() is None and time.monotonic() < until:
        time.sleep(0.1)
    return status
