# What every machine of an installation has: SSH by key from named networks, an audit log, and no more
# services than its role needs.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim;
  cim = import ./types.nix {inherit lib;};
in {
  imports = [./inventory.nix];

  options.cim.ssh = {
    keys = mkOption {
      type = types.listOf types.singleLineStr;
      default = [];
      example = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops@example"];
      description = "Public keys that may log in as root. There is no other way in over the network.";
    };
    from = mkOption {
      type = types.listOf cim.cidr;
      default = [];
      example = ["192.168.71.0/24"];
      description = "Networks that SSH answers to.";
    };
  };
}
