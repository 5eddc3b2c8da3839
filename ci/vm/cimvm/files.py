"""What is laid on a new machine's disk: what nixos/lib renders for it, its secrets, its address.

The image's first program unpacks it as a tar; `ci/vm/install` then makes of it what an administrator
would: users, units that start at boot.
"""

import hashlib
import io
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of the machines' cards. An emulated processor spends its time on frames, not on bytes.
MTU = 9000
# A disk of programs that no lab has used for so long is deleted.
UNUSED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Key:
    """An S3 credential."""

    access: str
    secret: str

    @staticmethod
    def draw() -> "Key":
        return Key(f"LAB{secrets.token_hex(8).upper()}", secrets.token_hex(20))

    def environment(self, access: str, secret: str) -> str:
        return f"{access}={self.access}\n{secret}={self.secret}\n"

    def aws(self) -> str:
        return self.environment("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True)
class Keys:
    """The lab's S3 credentials, drawn anew for each lab."""

    nas_root: Key
    nas: Key
    wasabi: Key

    @staticmethod
    def draw() -> "Keys":
        return Keys(nas_root=Key.draw(), nas=Key.draw(), wasabi=Key.draw())


# The file with a NAS's own key, and the names of its two halves there.
ROOT_KEYS = {
    "minio": ("minio-root.env", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    "seaweedfs": ("seaweedfs.env", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "versitygw": ("versitygw.env", "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"),
}


def secret_files(role: str, nas: str, keys: Keys, nkeys: Path) -> dict[str, str]:
    """What the units of a role are given, under /var/lib/cim-secrets; `nas` is the service of the NAS."""
    if role == "host":
        seed = (nkeys / "storage-manager.nk").read_text()
        return {"storage-manager.nk": seed, "nas.env": keys.nas.aws(), "wasabi.env": keys.wasabi.aws()}
    if role == "nas":
        file, access, secret = ROOT_KEYS[nas]
        return {file: keys.nas_root.environment(access, secret), "nas.env": keys.nas.aws()}
    if role == "fake-wasabi":
        fake = keys.wasabi.environment("CIM_FAKE_WASABI_ACCESS_KEY", "CIM_FAKE_WASABI_SECRET_KEY")
        return {"fake-wasabi.env": fake}
    raise ValueError(f"nobody knows what secrets a machine of role `{role}` has")


def pack(
    target: Path, name: str, inventory: Mapping[str, Any], rendered: Path, install: Path, secret: Mapping[str, str]
) -> None:
    """Writes the tar of a machine of the inventory."""
    host = inventory["hosts"][name]
    addresses = {other: there["address"] for other, there in inventory["hosts"].items()}
    with tarfile.open(target, "w") as tar:
        add_tree(tar, rendered, "")
        add_base(tar, name, addresses, inventory["networks"][host["network"]]["cidr"], install)
        for file, content in secret.items():
            add(tar, f"var/lib/cim-secrets/{file}", content.encode(), 0o400)


def add_tree(tar: tarfile.TarFile, directory: Path, target: str) -> None:
    """All files of a directory; a text that begins with `#!` is a program."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            add(tar, target + str(path.relative_to(directory)), content, 0o755 if content.startswith(b"#!") else 0o644)


def add_base(tar: tarfile.TarFile, name: str, addresses: Mapping[str, str], cidr: str, install: Path) -> None:
    """What every machine has: its name, its address and the others', and what installs it."""
    hosts = "".join(f"{address} {other}\n" for other, address in addresses.items())
    prefix = cidr.split("/")[1]
    lan = f"[Match]\nName=eth0\n\n[Link]\nMTUBytes={MTU}\n\n[Network]\nAddress={addresses[name]}/{prefix}\nIPv6AcceptRA=no\n"
    add(tar, "usr/local/lib/cim-install", install.read_bytes(), 0o755)
    add(tar, "etc/hostname", f"{name}\n".encode(), 0o644)
    add(tar, "etc/hosts", f"127.0.0.1 localhost\n{hosts}".encode(), 0o644)
    add(tar, "etc/systemd/network/10-lan.network", lan.encode(), 0o644)


def add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    """A file of root's, and the directories that lead to it: what is there already keeps its mode."""
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(content), mode
    member.uname = member.gname = "root"
    tar.addfile(member, io.BytesIO(content))


def programs_disk(cache: Path, programs: Mapping[str, Path]) -> Path:
    """A read-only disk with the programs, the same for all machines, and for all labs until one is built anew."""
    about = [f"{name} {path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for name, path in programs.items()]
    disk = cache / f"programs-{hashlib.sha256(' '.join(about).encode()).hexdigest()[:12]}.img"
    if disk.exists():
        # Still in use: whoever clears up goes by its age.
        disk.touch()
        return disk
    for old in cache.glob("programs-*.img"):
        if old.stat().st_mtime < time.time() - UNUSED_SECONDS:
            old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        make_programs_disk(Path(work) / "disk", programs, Path(work))
        (Path(work) / "disk").rename(disk)
    return disk


def make_programs_disk(target: Path, programs: Mapping[str, Path], work: Path) -> None:
    tree = work / "programs"
    tree.mkdir()
    for name, program in programs.items():
        shutil.copy(program, tree / name)
        (tree / name).chmod(0o755)
    # Room for the programs, the file system's own tables and a little more.
    size = sum(path.stat().st_size for path in tree.iterdir()) * 21 // 20 + (16 << 20)
    with target.open("wb") as disk:
        disk.truncate(size)
    command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(tree), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
