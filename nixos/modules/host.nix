# The host: NATS with JetStream, the containers' network, and nothing else.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkDefault mkEnableOption mkIf mkOption types;
  cfg = config.cim.host;
  cim = import ./types.nix {inherit lib;};
  inherit (config.cim.read) own;
  inherit (config.cim.rendered) nats;
  inherit (nats) settings;
  unit = config.cim.rendered.units.nats;

  tls = types.submodule {
    options = {
      certificate = mkOption {
        type = types.str;
        example = "/var/lib/cim-secrets/nats.crt";
        description = "Path of the server's certificate chain, in PEM.";
      };
      key = mkOption {
        type = cim.secretFile;
        example = "/var/lib/cim-secrets/nats.key";
        description = "Path of its private key. It stays with root; the server reads it as a credential.";
      };
      ca = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/etc/ssl/cim-ca.pem";
        description = "Path of the authority that signed the certificate, which clients trust. Null: the system's roots.";
      };
      verify = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether clients must show a certificate of this authority too.";
      };
    };
  };
in {
  imports = [./inventory.nix ./security.nix];

  options.cim.host = {
    enable = mkEnableOption "the host: NATS with JetStream, and containers for the components";

    nats = {
      port = mkOption {
        type = types.port;
        default = 4222;
        example = 4222;
        description = "The port for clients: operators from their network, components over the containers' bridge.";
      };
      maxFileStore = mkOption {
        type = types.ints.positive;
        example = 107374182400;
        description = "Largest size of JetStream's store on disk, in bytes. As a number, because `10G` has two meanings in NATS.";
      };
      maxMemoryStore = mkOption {
        type = types.ints.positive;
        example = 1073741824;
        description = "Largest size of JetStream's store in memory, in bytes.";
      };
      syncInterval = mkOption {
        type = types.either (types.enum ["always"]) cim.duration;
        default = "always";
        example = "2m";
        description = ''
          The time at which JetStream's writes reach the disk. With `always` an event is acked when it is on disk;
          with a duration, NATS's default, a power cut loses the events acked in the last such time. The scenario
          `power-loss` shows both.
        '';
      };
      maxPayload = mkOption {
        type = types.ints.between 65536 67108864;
        default = 1048576;
        example = 8388608;
        description = "The largest message, in bytes.";
      };
      tls = mkOption {
        type = types.nullOr tls;
        default = null;
        example = {
          certificate = "/var/lib/cim-secrets/nats.crt";
          key = "/var/lib/cim-secrets/nats.key";
        };
        description = "Encryption of client connections. Null: none, for networks that are yours alone.";
      };
      monitorKey = mkOption {
        type = types.nullOr cim.nkey;
        default = null;
        example = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
        description = "Public nkey of the system account's only user, for monitoring. Null: there is none.";
      };
    };

    operators = mkOption {
      type = types.attrsOf (types.submodule {
        options = {
          nkey = mkOption {
            type = cim.nkey;
            example = "UBNBOW4HJMQ5R43LKIDHNRXK2RG3THBDYKM5EAA574VGDNIWTA43CC7O";
            description = "The operator's public nkey. The seed stays with the operator.";
          };
          from = mkOption {
            type = cim.node;
            example = "lan";
            description = "The network of `cim.networks` that the operator connects from.";
          };
        };
      });
      default = {};
      example = lib.literalExpression ''{ops = {nkey = "UBNB…"; from = "lan";};}'';
      description = "Users with all rights in the installation's account: publish, make streams, restore.";
    };

    containers = {
      cidr = mkOption {
        type = cim.cidr;
        default = "10.71.0.0/24";
        example = "10.71.0.0/24";
        description = "The private network of components and plugins.";
      };
      bridge = mkOption {
        type = cim.interface;
        default = "br-cim";
        example = "br-cim";
        description = "The bridge that their containers are attached to.";
      };
      hostAddress = mkOption {
        type = cim.ipv4;
        default = "10.71.0.1";
        example = "10.71.0.1";
        description = "The host's address on it, where containers reach NATS.";
      };
    };
  };

  config = lib.mkMerge [
    {
      cim.host = {
        enable = mkDefault (own.role or "" == "host");
        nats = lib.mapAttrs (_: mkDefault) (removeAttrs (own.nats or {}) ["leafNodes"]);
        operators = lib.mapAttrs (_: lib.mapAttrs (_: mkDefault)) (own.operators or {});
        containers = lib.mapAttrs (_: mkDefault) (own.containers or {});
      };
    }
    (mkIf cfg.enable {
      cim = {
        roles = ["host"];
        entry = {inherit (cfg) nats operators containers;};
        programs.nats-server = lib.getExe pkgs.nats-server;
      };

      services.nats = {
        enable = true;
        jetstream = true;
        serverName = settings.server_name;
        inherit (settings) port;
        # Settings that `services.nats` makes itself are left to it.
        settings =
          removeAttrs settings ["port" "server_name"]
          // {jetstream = removeAttrs settings.jetstream ["store_dir"];};
        # nats-server would look for the files of credentials, which do not exist when a system is built.
        validateConfig = nats.credentials == {};
      };

      # The unit is the core's, except for what names paths: NixOS has its own, and restarts the unit when
      # the configuration changes.
      systemd.services.nats = {
        description = lib.mkForce unit.description;
        inherit (unit) unitConfig;
        serviceConfig =
          lib.mapAttrs (_: lib.mkForce) (removeAttrs unit.serviceConfig ["ExecReload" "ExecStart"])
          // {CPUWeight = 200;}
          # Variables are not JSON: a seed of a leaf connection comes from the unit's environment.
          // lib.optionalAttrs (nats.environment != []) {
            ExecStart = lib.mkForce "${config.cim.programs.nats-server} --config ${pkgs.writeText "nats.conf" nats.text}";
          };
      };

      # Components are attached to a bridge with no card in it: the packet filter decides what leaves it.
      networking.bridges.${cfg.containers.bridge}.interfaces = [];
      networking.interfaces.${cfg.containers.bridge}.ipv4.addresses = [
        {
          address = cfg.containers.hostAddress;
          prefixLength = (import ../lib/ipv4.nix).prefixLength cfg.containers.cidr;
        }
      ];
      boot.enableContainers = mkDefault true;
    })
  ];
}
