"""`ci/vm/run SCENARIO`: the harness as the operator's process, and the driver's loop."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType

from .commands import Commands, MachineError
from .console import ConsoleError
from .lab import ROOT, Lab, LabError, log
from .machine import Machine

FAILED = 1
LAB_FAILED = 3
INTERRUPTED = 130


class LocalOperator(Commands):
    """The operator is this machine: what the driver's loop needs of the test driver's API."""

    name = "operator"

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]:
        limit = [] if timeout is None else ["timeout", str(timeout)]
        words = ["setpriv", "--pdeathsig", "KILL", "--", *limit, "bash", "-c", f"set -euo pipefail; {command}"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        return done.returncode, done.stdout.decode(errors="replace")


def driver_module() -> ModuleType:
    """The very file that a NixOS test runs."""
    spec = importlib.util.spec_from_file_location("driver", ROOT / "nixos/tests/driver.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def harness(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs beside the loop and never outlives it; its report is our stdout."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *words], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
        process.wait(60)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def keep_journals(lab: Lab) -> None:
    """What the units of the machines that are on have said, of this boot and those before."""
    for machine in lab.machines.values():
        if machine.is_up():
            with contextlib.suppress(MachineError, ConsoleError):
                journal = machine.execute("journalctl --no-pager --output=short-precise", timeout=60)[1]
                (lab.logs / f"{machine.name}.journal").write_text(journal)


def new_disk(machine: Machine) -> None:
    machine.new_disk()


def run(image: Path, nas: str, program: str, scenario: str, flags: list[str]) -> int:
    driver = driver_module()
    began = time.monotonic()
    logs = ROOT / "runs" / f"vm-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    with Lab(image, logs, nas) as lab:
        lab_json = lab.state / "lab.json"
        lab_json.write_text(json.dumps(lab.describe(), indent=2))
        socket = str(lab.state / "driver")
        words = [program, "scenario", scenario, "--substrate", "driver"]
        words += ["--lab", str(lab_json), "--socket", socket, *flags]
        with harness(words) as process:
            loop = driver.Loop(
                LocalOperator(),
                lab.machines.values(),
                socket,
                process.poll,
                harness=program,
                new_disk=new_disk,
                log=log,
            )
            status: int = loop.run()
            if status == FAILED:
                keep_journals(lab)
    log(f"{scenario} on {nas}: ended with status {status} after {time.monotonic() - began:.0f} s")
    if status == FAILED or "--keep" in flags:
        log(f"the machines' consoles and journals: {logs}")
    else:
        shutil.rmtree(logs)
    return status


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, interrupt)
    image, nas, program, scenario, *flags = arguments
    try:
        return run(Path(image), nas, program, scenario, flags)
    except KeyboardInterrupt:
        log("interrupted; nothing is left running")
        return INTERRUPTED
    except (LabError, MachineError, ConsoleError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        log(f"error: {error}")
        return LAB_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
