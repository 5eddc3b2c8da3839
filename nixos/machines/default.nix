# Disks and boot loader of a machine that has no file of its own here: one disk with the labels from
# docs/nixos.md, started by UEFI. `nixos-generate-config --show-hardware-config` prints yours.
{
  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;

  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/boot";
    fsType = "vfat";
    options = ["umask=0077"];
  };

  system.stateVersion = "26.05";
}
