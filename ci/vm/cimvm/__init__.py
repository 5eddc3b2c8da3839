"""Virtual machines for scenarios, without Nix: Debian under QEMU, with the NixOS test driver's API."""
