"""One virtual machine, with the names and the meaning of the NixOS test driver's Machine."""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import qemu
from .commands import Commands, MachineError
from .console import Console, ConsoleError

# To the first word of the shell; emulated, with both processors busy, it takes 20 s.
BOOT_SECONDS = 240
# Less than the driver protocol allows for a `stop`.
SHUTDOWN_SECONDS = 80


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of."""

    image: Path
    programs: Path
    accelerator: qemu.Accelerator
    memory_mib: int


class Machine(Commands):
    """A machine that is off until `start`; its disk is kept from start to start."""

    def __init__(
        self,
        name: str,
        number: int,
        hardware: Hardware,
        files: Path,
        network: Path,
        state_dir: Path,
        logs: Path,
        log: Callable[[str], None],
    ) -> None:
        """`files` is the tar that a new machine installs; `network` the socket of its port of the switch."""
        self.name = name
        self.number = number
        self.hardware = hardware
        self.files = files
        self.network = network
        self.state_dir = state_dir
        self.logs = logs
        self.log = log
        self.disk = state_dir / "disk.qcow2"
        self.process: subprocess.Popen[bytes] | None = None
        self.console: Console | None = None
        self.monitor: socket.socket | None = None
        self.began = 0.0
        self.ready = False
        state_dir.mkdir(parents=True, exist_ok=True)

    # Power.

    def start(self) -> None:
        """Switches it on and does not wait for it; nothing when it is on."""
        if self.process is not None:
            return
        if not self.disk.exists():
            self.make_disk()
        self.began = time.monotonic()
        console, monitor = listen(self.state_dir / "shell"), listen(self.state_dir / "monitor")
        with console, monitor:
            self.process = qemu.spawn(self.arguments(), self.logs / f"{self.name}.qemu.log")
            try:
                self.console = Console(self.accept(console))
                self.monitor = self.accept(monitor)
                self.monitor_answer()
                self.monitor_command("qmp_capabilities")
            except BaseException:
                self.crash()
                raise

    def shutdown(self) -> None:
        """Powers it off in an orderly way."""
        if self.process is None:
            return
        self.execute("systemctl poweroff --no-block", check_return=False)
        try:
            self.process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"`{self.name}` is still on {SHUTDOWN_SECONDS} s after `poweroff`") from error
        self.off()

    def crash(self) -> None:
        """A power cut: QEMU is killed. What the guest had not synced is lost."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.off()

    def off(self) -> None:
        for end in (self.console, self.monitor):
            if end is not None:
                end.close()
        self.process = self.console = self.monitor = None
        self.ready = False

    def is_up(self) -> bool:
        return self.process is not None and self.ready

    def new_disk(self) -> None:
        """Its next start is that of a new machine, which installs itself."""
        if self.process is not None:
            raise MachineError(f"`{self.name}` is on: its disk cannot be exchanged")
        self.disk.unlink(missing_ok=True)

    def make_disk(self) -> None:
        base = self.hardware.image / "root.img"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(self.disk)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    # The network card.

    def block(self) -> None:
        """Pulls the cable out of the network card."""
        self.monitor_command("set_link", name="card", up=False)

    def unblock(self) -> None:
        """Plugs it in again."""
        self.monitor_command("set_link", name="card", up=True)

    # The shell.

    def connect(self) -> None:
        """Waits until the shell is there."""
        if self.ready:
            return
        self.start()
        assert self.console is not None and self.process is not None
        try:
            self.console.wait_ready(BOOT_SECONDS)
        except ConsoleError as error:
            raise MachineError(f"`{self.name}` did not boot: {error}; {self.last_words()}") from error
        self.ready = True
        self.log(f"{self.name}: shell after {time.monotonic() - self.began:.1f} s")

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]:
        """Runs a command; its status and stdout. -1 or -2 stand for a status that nobody waited for."""
        self.connect()
        assert self.console is not None
        self.console.send(command, timeout)
        if not check_output:
            return -2, ""
        if not check_return:
            return -1, ""
        # The guest's own `timeout` ends the command; this ends the wait for a guest that hangs.
        status, output = self.console.receive(None if timeout is None else timeout + 60)
        return status, output.decode(errors="replace")

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        """Repeats a command until it ends with status 0."""
        until = time.monotonic() + timeout
        while True:
            status, output = self.execute(command, timeout=timeout)
            if status == 0:
                return output
            if time.monotonic() > until:
                raise MachineError(f"`{command}` on `{self.name}` still fails after {timeout} s: {output}")
            time.sleep(0.5)

    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None:
        """Waits until something accepts connections."""
        self.wait_until_succeeds(f"nc -z {addr} {port}", timeout)

    def wait_for_file(self, filename: str, timeout: int = 900) -> None:
        """Waits until a file exists."""
        self.wait_until_succeeds(f"test -e {filename}", timeout)

    def systemctl(self, q: str) -> tuple[int, str]:
        return self.execute(f"systemctl {q}")

    def get_unit_property(self, unit: str, property: str) -> str:
        """One property of a unit, as text."""
        return self.succeed(f"systemctl show {unit} --property={property} --value").strip()

    def wait_for_unit(self, unit: str, timeout: int = 900) -> None:
        """Waits until a unit is active; an error when it failed or nobody will start it."""
        until = time.monotonic() + timeout
        while (state := self.get_unit_property(unit, "ActiveState")) != "active":
            idle = state == "inactive" and "No jobs" in self.systemctl("list-jobs --full")[1]
            # It may have become active between the two questions.
            if state == "failed" or (idle and self.get_unit_property(unit, "ActiveState") == "inactive"):
                journal = self.execute(f"journalctl --no-pager --output=cat --lines=5 --unit={unit}")[1]
                raise MachineError(f"`{unit}` on `{self.name}` is {state}: {' '.join(journal.split())}")
            if time.monotonic() > until:
                raise MachineError(f"`{unit}` on `{self.name}` is still {state} after {timeout} s")
            time.sleep(0.5)

    # What is underneath.

    def arguments(self) -> list[str]:
        """QEMU's.

        `cache=unsafe`: what the guest synced has been written to the disk's file when its sync returns, and
        so survives QEMU, which is what a power cut ends here. That this machine might lose power as well is
        nothing to wait for.
        """
        mac = f"52:54:00:00:01:{self.number:02x}"
        state = self.state_dir
        disk = f"if=none,id=disk,file={self.disk},format=qcow2,cache=unsafe,discard=unmap"
        return [
            *("-name", self.name),
            *qemu.boot_arguments(self.hardware.image, "systemd.getty_auto=0 systemd.unit=multi-user.target"),
            *self.hardware.accelerator.arguments,
            *("-m", str(self.hardware.memory_mib)),
            *("-drive", disk, "-device", "virtio-blk-pci,drive=disk"),
            *("-drive", f"if=none,id=programs,file={self.hardware.programs},format=raw,readonly=on"),
            *("-device", "virtio-blk-pci,drive=programs"),
            *("-drive", f"if=none,id=files,file={self.files},format=raw,readonly=on"),
            *("-device", "virtio-blk-pci,drive=files"),
            *("-netdev", f"stream,id=lan,server=off,addr.type=unix,addr.path={self.network}"),
            *("-device", f"virtio-net-pci,id=card,netdev=lan,mac={mac}"),
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"socket,id=shell,path={state / 'shell'}"),
            *("-device", "virtio-serial", "-device", "virtconsole,chardev=shell"),
            *("-chardev", f"socket,id=monitor,path={state / 'monitor'}", "-mon", "chardev=monitor,mode=control"),
            *("-chardev", f"file,id=serial,path={self.logs / self.name}.console.log,append=on"),
            *("-serial", "chardev:serial"),
        ]

    def accept(self, server: socket.socket) -> socket.socket:
        """QEMU connects by itself as soon as it runs."""
        assert self.process is not None
        until = time.monotonic() + 30
        server.settimeout(0.2)
        while True:
            try:
                connection, _ = server.accept()
            except TimeoutError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise MachineError(f"QEMU of `{self.name}` does not start: {self.last_words()}") from error
                continue
            connection.settimeout(30)
            return connection

    def monitor_command(self, command: str, **arguments: object) -> None:
        """A command of QEMU's machine protocol."""
        if self.monitor is None:
            raise MachineError(f"`{self.name}` is off")
        request = {"execute": command, "arguments": arguments}
        self.monitor.sendall(json.dumps(request).encode())
        while "return" not in (answer := self.monitor_answer()):
            if "error" in answer:
                raise MachineError(f"`{command}` of `{self.name}`: {answer['error']}")

    def monitor_answer(self) -> dict[str, Any]:
        """The next object from QEMU, one a line; events come between answers."""
        assert self.monitor is not None
        line = b""
        while not line.endswith(b"\n"):
            part = self.monitor.recv(1)
            if not part:
                raise MachineError(f"QEMU of `{self.name}` is gone: {self.last_words()}")
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def last_words(self) -> str:
        """The ends of what QEMU and the kernel said, on one line."""
        words = []
        for log in (self.logs / f"{self.name}.qemu.log", self.logs / f"{self.name}.console.log"):
            if log.exists():
                words += log.read_text(errors="replace").split()[-40:]
        return " ".join(words) or "it said nothing"


def listen(path: Path) -> socket.socket:
    """A Unix socket that QEMU connects to."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    return server
