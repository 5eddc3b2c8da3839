# The seven components, each in a nixos-container of its own on the host's private network.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim.components;
  cim = import ./types.nix {inherit lib;};
  known = import ../lib/components.nix;
  packages = pkgs.cim or (import ../packages.nix {inherit pkgs;});

  component = {
    config,
    name,
    ...
  }: {
    options = {
      enable = mkOption {
        type = types.bool;
        default = config.address != null && config.package != null;
        defaultText = lib.literalExpression "address != null && package != null";
        example = true;
        description = "Whether the component runs on this host, in a container of its own.";
      };
      package = mkOption {
        type = types.nullOr types.package;
        default = packages."cim-${name}" or null;
        defaultText = lib.literalMD "the program of the storage manager, of the component registry and of information units; for the other components `null`, until they have one";
        example = lib.literalExpression "pkgs.cim.cim-storage-manager";
        description = "The program. Its main program is started; see `command` for how.";
      };
      command = mkOption {
        type = types.nullOr (types.listOf types.str);
        default = null;
        example = ["/run/current-system/sw/bin/cim-ui-framework" "--verbose"];
        description = ''
          The command instead of the package's main program, with `CIM_NATS_URL`, `CIM_NATS_NKEY_FILE`
          and `CIM_NATS_INBOX_PREFIX` in its environment: its client must use that prefix, because it may
          subscribe to no other inbox. `CIM_EVENTS_STREAM` and `CIM_VIEWS_BUCKET` are the inventory's stream and
          key-value bucket of the component. Not for the storage manager, which has a configuration.
        '';
      };
      nkey = mkOption {
        type = types.nullOr cim.nkey;
        default = null;
        example = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
        description = ''
          Its public nkey. NATS lets it publish and read its own subjects, and no others. The seed lies in
          `/var/lib/cim-secrets/<component>.nk`. Null: the component is no user of NATS.
        '';
      };
      address = mkOption {
        type = types.nullOr cim.ipv4;
        default = null;
        example = "10.71.0.11";
        description = "Its container's address in `cim.host.containers.cidr`. Null: there is no container.";
      };
      memory = mkOption {
        type = cim.memory;
        default = "512M";
        example = "1G";
        description = "The memory limit of its container. The container ends if it needs more.";
      };
      tasks = mkOption {
        type = types.ints.positive;
        default = 512;
        example = 1024;
        description = "The largest number of processes and threads in its container.";
      };
      cpuWeight = mkOption {
        type = types.ints.between 1 10000;
        default = 100;
        example = 50;
        description = "Its share of the processors if all are busy. NATS has 200.";
      };
      asks = mkOption {
        type = types.listOf (types.enum (lib.attrNames known));
        default = [];
        example = ["component-registry"];
        description = "Components whose services it may call.";
      };
      reads = mkOption {
        type = types.listOf (types.enum (lib.attrNames known));
        default = [];
        example = ["information-units"];
        description = "Components whose events it may read.";
      };
      settings = mkOption {
        type = types.attrsOf (types.attrsOf types.anything);
        default = {};
        example = {segment.flush_age = "1s";};
        description = ''
          More of the storage manager's configuration, in its own words: the tables `streams`, `segment`,
          `seal`, `collect` and `memory` of docs/storage-manager.md. Of no use to other components.
        '';
      };
    };
  };

  about = lib.concatMapStringsSep ", " (name: "`${name}` (${known.${name}.description})") (lib.attrNames known);
in {
  imports = [./host.nix ./containers.nix ./tiers.nix];
  options.cim.components = mkOption {
    type = types.attrsOf (types.submodule component);
    default = {};
    example = lib.literalExpression ''{storage-manager = {nkey = "UBNB…"; address = "10.71.0.11";};}'';
    description = "The components: ${about}. Others are refused.";
  };

  config = {
    cim.components = lib.mapAttrs (_: lib.mapAttrs (_: mkDefault)) (config.cim.read.own.components or {});
    cim.entry = mkIf (cfg != {}) {
      components = lib.mapAttrs (_: component:
        {inherit (component) nkey address memory asks reads;}
        // lib.optionalAttrs (component.settings != {}) {inherit (component) settings;})
      cfg;
    };
    cim.contained = lib.filterAttrs (_: component: component.enable) cfg;
  };
}
