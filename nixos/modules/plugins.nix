# Plugins: programs of third parties, each in a container like a component's, with its given subjects and no
# others.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim.plugins;
  cim = import ./types.nix {inherit lib;};

  plugin = {config, ...}: {
    options = {
      enable = mkOption {
        type = types.bool;
        default = config.address != null && config.package != null;
        defaultText = lib.literalExpression "address != null && package != null";
        example = true;
        description = "Whether the plugin runs on this host.";
      };
      package = mkOption {
        type = types.nullOr types.package;
        default = null;
        example = lib.literalExpression "pkgs.callPackage ./thumbnails.nix {}";
        description = "The program. Null: the plugin is a user of NATS, but does not run here.";
      };
      command = mkOption {
        type = types.nullOr (types.listOf types.str);
        default = null;
        example = ["/run/current-system/sw/bin/thumbnails" "--small"];
        description = ''
          The command instead of the package's main program, with `CIM_NATS_URL`, `CIM_NATS_NKEY_FILE`
          and `CIM_NATS_INBOX_PREFIX` in its environment: its client must use that prefix, because it may
          subscribe to no other inbox.
        '';
      };
      nkey = mkOption {
        type = cim.nkey;
        example = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
        description = "Its public nkey. The seed lies in `/var/lib/cim-secrets/<name>.nk`.";
      };
      address = mkOption {
        type = types.nullOr cim.ipv4;
        default = null;
        example = "10.71.0.51";
        description = "Its container's address in `cim.host.containers.cidr`. Null: there is no container.";
      };
      memory = mkOption {
        type = cim.memory;
        default = "256M";
        example = "1G";
        description = "The memory limit of its container.";
      };
      tasks = mkOption {
        type = types.ints.positive;
        default = 128;
        example = 512;
        description = "The largest number of processes and threads in its container.";
      };
      cpuWeight = mkOption {
        type = types.ints.between 1 10000;
        default = 50;
        example = 100;
        description = "Its share of the processors if all are busy.";
      };
      publish = mkOption {
        type = types.listOf cim.subject;
        default = [];
        example = ["plugins.thumbnails.>"];
        description = "Subjects that it may publish to.";
      };
      subscribe = mkOption {
        type = types.listOf cim.subject;
        default = [];
        example = ["cim.iu.created"];
        description = "Subjects that it may read.";
      };
    };
  };
in {
  imports = [./host.nix ./containers.nix];
  options.cim.plugins = mkOption {
    type = types.attrsOf (types.submodule plugin);
    default = {};
    example = lib.literalExpression ''
      {
        thumbnails = {
          package = pkgs.callPackage ./thumbnails.nix {};
          nkey = "UBNB…";
          address = "10.71.0.51";
          subscribe = ["cim.iu.created"];
        };
      }
    '';
    description = "Plugins on this host, by name.";
  };

  config = {
    cim.plugins = lib.mapAttrs (_: lib.mapAttrs (_: mkDefault)) (config.cim.read.own.plugins or {});
    cim.entry = mkIf (cfg != {}) {
      plugins = lib.mapAttrs (_: plugin: {inherit (plugin) nkey address memory publish subscribe;}) cfg;
    };
    cim.contained = lib.filterAttrs (_: plugin: plugin.enable) cfg;
  };
}
