# What this machine is, and where that comes from: an inventory file, options, or both.
#
# The options of `cim` and the keys of an inventory are the same words. The file, if there is one, sets
# options by `mkDefault`; what the options then say goes through the functional core of ../lib, which
# checks it as a whole and renders it. The other modules only hand on what the core returned.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkOption types;
  cfg = config.cim;
  cim = import ./types.nix {inherit lib;};

  file =
    if cfg.inventory == null
    then {}
    else lib.importJSON cfg.inventory;
  own = (file.hosts or {}).${cfg.node} or {};
in {
  options.cim = {
    inventory = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./inventory.json";
      description = ''
        The installation's inventory, a JSON file (its schema is fixtures/schemas/inventory/v1.json). Each
        option of `cim` that the file speaks of takes its default from there; an option that is set wins.
        Without a file the options alone say what the machine is.
      '';
    };

    node = mkOption {
      type = cim.node;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      example = "host";
      description = "The name that this machine has in the inventory.";
    };

    name = mkOption {
      type = cim.node;
      default = "cim";
      example = "example";
      description = "The installation's name.";
    };

    lab = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether this is a lab: keys whose seeds are public are accepted, a fake Wasabi may run, and the
        storage manager waits for somebody to start it. Never true for a machine that holds real events.
      '';
    };

    address = mkOption {
      type = cim.ipv4;
      example = "192.168.71.10";
      description = "The machine's address in its network. Services listen there, and not on others.";
    };

    network = mkOption {
      type = cim.node;
      default = "lan";
      example = "lan";
      description = "The network of `cim.networks` that the machine is in.";
    };

    networks = mkOption {
      type = types.attrsOf (types.submodule {
        options.cidr = mkOption {
          type = cim.cidr;
          example = "192.168.71.0/24";
          description = "The network's range of addresses.";
        };
      });
      default = {};
      example = {lan.cidr = "192.168.71.0/24";};
      description = "The installation's networks, by name.";
    };

    proof = mkOption {
      type = types.listOf types.package;
      default = [];
      example = lib.literalExpression "lib.attrValues self.checks.x86_64-linux";
      description = ''
        Derivations that must build before this machine's system can be built, through `system.checks`:
        with the scenarios' machine tests in it a configuration that was not proven cannot even exist,
        whatever tool would deploy it. Each must be built on a machine with KVM.
      '';
    };
  };

  options.cim.rendered = mkOption {
    type = types.raw;
    internal = true;
    readOnly = true;
    description = "What the functional core makes of this machine. For the other modules.";
  };
}
