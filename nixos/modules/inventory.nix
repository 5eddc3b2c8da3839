# This machine's part of an installation, from an inventory file, options, or both.
#
# The options of `cim` and the keys of an inventory are the same words. The file, if there is one, sets
# options by `mkDefault`; the options together are one inventory again, which goes through the functional
# core of ../lib. The core checks it as a whole and renders it; the other modules pass on its result.
# So options, file and rendered configuration cannot disagree.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkOption types;
  cfg = config.cim;
  cim = import ./types.nix {inherit lib;};
  core = import ../lib;

  internal = type: description:
    mkOption {
      inherit type description;
      internal = true;
      default = {};
    };
  merged = internal (types.attrsOf types.anything);

  # "Not given" is null in options and an absent key in an inventory.
  given = lib.filterAttrsRecursive (_: value: value != null);

  file = cfg.read.inventory;
  inherit (cfg.read) own;
  whole =
    given cfg.whole
    // {
      version = 3;
      inherit (cfg) name lab networks;
      hosts =
        (file.hosts or {})
        // {
          ${cfg.node} =
            given cfg.entry
            // {
              inherit (cfg) address network;
              role =
                if cfg.roles == []
                then throw noRole
                else lib.head cfg.roles;
            };
        };
    };
  noRole =
    "`cim` has no role for `${cfg.node}`: "
    + (
      if cfg.inventory == null
      then "set `cim.inventory`, or enable `cim.host` or `cim.nas`"
      else "the inventory has no machine of that name that runs NixOS; set `cim.node`, or add it there"
    );
  roles = lib.concatMapStringsSep " and " (role: "`${role}`") cfg.roles;
in {
  options.cim = {
    inventory = mkOption {
      type = types.nullOr (types.either types.path (types.attrsOf types.anything));
      default = null;
      example = lib.literalExpression "./inventory.json";
      description = ''
        The installation's inventory: a JSON file (its schema is fixtures/schemas/inventory/v3.json), or what is
        in one. Each option of `cim` that it speaks of takes its default from there; an option that is set
        wins. Without an inventory the options alone say what the machine is.
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
        storage manager waits for the harness to start it. Never true for a machine that holds real events.
      '';
    };

    address = mkOption {
      type = cim.ipv4;
      example = "192.168.71.10";
      description = "The machine's address in its network.";
    };

    network = mkOption {
      type = cim.node;
      default = "lan";
      example = "lan";
      description = "The network of `cim.networks` that the machine is in.";
    };

    interface = mkOption {
      type = types.nullOr cim.interface;
      default = null;
      example = "enp1s0";
      description = ''
        The network card that gets `cim.address`. Null: the address is configured elsewhere, for example by
        `nixos-generate-config`.
      '';
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

    # Shared between the modules. Each role's module adds its part; this one makes the whole.
    roles = mkOption {
      type = types.listOf types.str;
      internal = true;
      default = [];
      description = "The roles that are enabled: exactly one.";
    };
    entry = merged "What the options say of this machine, as an inventory has it under `hosts`.";
    whole = merged "What the options say of the installation, as an inventory has it.";
    programs = merged "Where the programs lie that units start.";
    read = internal types.raw "The inventory file's content, and in `own` what it says of this machine.";
    assembled = internal types.raw "The whole inventory, from the file and the options.";
    rendered = internal types.raw "What the core makes of this machine.";
  };

  config = {
    cim = {
      read = rec {
        inventory = given (
          if cfg.inventory == null
          then {}
          else if lib.isAttrs cfg.inventory
          then cfg.inventory
          else lib.importJSON cfg.inventory
        );
        own = (inventory.hosts or {}).${cfg.node} or {};
      };
      assembled = whole;
      rendered = core.render {
        inventory = whole;
        host = cfg.node;
        platform = "nixos";
        inherit (cfg) programs;
      };

      name = lib.mkIf (file ? name) (mkDefault file.name);
      lab = lib.mkIf (file ? lab) (mkDefault file.lab);
      networks = lib.mapAttrs (_: network: {cidr = mkDefault network.cidr;}) (file.networks or {});
      address = lib.mkIf (own ? address) (mkDefault own.address);
      network = lib.mkIf (own ? network) (mkDefault own.network);
    };

    assertions =
      [
        {
          assertion = lib.length cfg.roles == 1;
          message =
            if cfg.roles == []
            then noRole
            else "`${cfg.node}` has the roles ${roles}: one machine has one, so that losing it loses one tier; give each role a machine of its own";
        }
      ]
      # The core's errors, with the way out, a line each.
      ++ lib.optionals (lib.length cfg.roles == 1) (map (message: {
        assertion = false;
        message = "cim: ${message}";
      }) (core.check whole));

    networking.interfaces = lib.mkIf (cfg.interface != null) {
      ${cfg.interface}.ipv4.addresses = [
        {
          inherit (cfg) address;
          inherit (cfg.rendered.network) prefixLength;
        }
      ];
    };

    # Machines of one installation know one another by name, independent of a name server.
    networking.hosts = lib.mapAttrs' (name: address: lib.nameValuePair address [name]) (
      removeAttrs cfg.rendered.network.hosts [cfg.node]
    );

    system.checks = cfg.proof;
  };
}
