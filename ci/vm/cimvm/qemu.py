"""QEMU on this machine: how it is started, and whether KVM works."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROBE_SECONDS = 15
EMULATION = "emulation"
PROGRAM = f"qemu-system-{platform.machine()}"


@dataclass(frozen=True)
class Accelerator:
    """What runs the guest's instructions."""

    name: str
    arguments: tuple[str, ...]
    reason: str

    @property
    def emulated(self) -> bool:
        return self.name == EMULATION

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def kvm() -> tuple[str, ...]:
    """This processor as it is, but for what a nested hypervisor may list and then refuse to set."""
    cpu = "host,-arch-capabilities" if platform.machine() == "x86_64" else "host"
    return ("-accel", "kvm", "-cpu", cpu)


def emulation(reason: str) -> Accelerator:
    """One thread for each processor, and 128 MiB for translated code: the default is 1 GiB."""
    arguments = ("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max")
    return Accelerator(EMULATION, arguments, reason)


def spawn_program(words: Sequence[str], log: Path, place: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts a program that the kernel kills when this process is gone, however that comes about."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=place,
            # Ctrl-C is for the driver, which ends its machines by itself.
            start_new_session=True,
        )


def spawn(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    return spawn_program([PROGRAM, *arguments], log)


def machine_type() -> list[str]:
    return ["-machine", "q35" if platform.machine() == "x86_64" else "virt"]


def boot_arguments(image: Path, words: str) -> list[str]:
    """The kernel of the image, started without a boot loader."""
    console = "ttyS0" if platform.machine() == "x86_64" else "ttyAMA0"
    return [
        *machine_type(),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        *("-append", f"root=/dev/vda rw console={console} net.ifnames=0 quiet panic=-1 {words}"),
    ]


def choose(image: Path, cache: Path) -> Accelerator:
    """KVM where the image's kernel gets through its start with it; what was found holds until a reboot."""
    forced = os.environ.get("CIM_VM_ACCEL", "")
    if forced == "tcg":
        return emulation("CIM_VM_ACCEL says so")
    if forced not in ("", "kvm"):
        raise ValueError(f"`CIM_VM_ACCEL` is `{forced}`: it is `kvm` or `tcg`, or not set")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        reason = "/dev/kvm is not there" if not Path("/dev/kvm").exists() else "/dev/kvm is not ours to open"
        return emulation(reason)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    found = cache / f"kvm-{boot}-{image.name}"
    if not found.exists():
        for old in cache.glob("kvm-*"):
            old.unlink(missing_ok=True)
        found.write_text(probe(image, cache / "kvm-probe.log"))
    answer = found.read_text()
    if answer.startswith("works"):
        return Accelerator("KVM", kvm(), answer)
    return emulation(f"KVM {answer}")


def probe(image: Path, log: Path) -> str:
    """Boots the kernel as far as its first program, which powers it off."""
    log.write_text("")
    arguments = [*boot_arguments(image, "cim.probe"), *kvm(), "-m", "256", "-serial", "stdio"]
    began = time.monotonic()
    process = spawn(arguments, log)
    try:
        status = process.wait(PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"does not boot a kernel within {PROBE_SECONDS} s"
    finally:
        process.kill()
        process.wait()
    output = log.read_text(errors="replace")
    if status == 0 and "cim-init: probed" in output:
        return f"works: a kernel boots in {time.monotonic() - began:.1f} s"
    return f"fails: QEMU ended with status {status}: {' '.join(output.split())[-200:]}"
