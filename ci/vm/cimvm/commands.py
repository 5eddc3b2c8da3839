"""What can be done with somebody's root shell, in the words of the NixOS test driver."""

from abc import ABC, abstractmethod


class MachineError(Exception):
    """A machine did not do what it was asked for."""


class Commands(ABC):
    """Commands that must succeed, or fail, over one that runs any."""

    name: str

    @abstractmethod
    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]:
        """Runs a command; its status and stdout."""

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands that must end with status 0; their stdout."""
        output = ""
        for command in commands:
            status, out = self.execute(command, timeout=timeout)
            if status != 0:
                raise MachineError(f"`{command}` on `{self.name}` ended with status {status}: {out}")
            output += out
        return output

    def fail(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands that must not end with status 0; their stdout."""
        output = ""
        for command in commands:
            status, out = self.execute(command, timeout=timeout)
            if status == 0:
                raise MachineError(f"`{command}` on `{self.name}` was expected to fail: {out}")
            output += out
        return output
