# The host: NATS with JetStream, the containers' network, and nothing else.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.cim.host;
  cim = import ./types.nix {inherit lib;};

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
        description = "Path of the authority that signed the certificate: what clients trust. Null: the system's roots.";
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
        description = "Where clients connect: operators from their network, components over the containers' bridge.";
      };
      maxFileStore = mkOption {
        type = types.ints.positive;
        example = 107374182400;
        description = "How many bytes JetStream may have on disk. As a number: `10G` means two things in NATS.";
      };
      maxMemoryStore = mkOption {
        type = types.ints.positive;
        example = 1073741824;
        description = "How many bytes JetStream may have in memory.";
      };
      syncInterval = mkOption {
        type = types.either (types.enum ["always"]) cim.duration;
        default = "always";
        example = "2m";
        description = ''
          When JetStream's writes reach the disk. With `always` an event is acked when it is there; with a
          duration, NATS's own way, up to that much of what was acked is gone after a power cut. The
          scenario `power-loss` shows both.
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
        example = "UAQFRIYY24WMSUYEBUD6BGI5UTCGVFRNMFCB2I3X6YCM7GNWZHPH6KKD";
        description = "Public nkey of the system account's only user, for monitoring. Null: there is none.";
      };
    };

    operators = mkOption {
      type = types.attrsOf (types.submodule {
        options = {
          nkey = mkOption {
            type = cim.nkey;
            example = "UAQFRIYY24WMSUYEBUD6BGI5UTCGVFRNMFCB2I3X6YCM7GNWZHPH6KKD";
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
      example = lib.literalExpression ''{ops = {nkey = "UAQF…"; from = "lan";};}'';
      description = "Who may do everything in the installation's account: publish, make streams, restore.";
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
        description = "The host's address on it: where NATS is, seen from a container.";
      };
    };
  };
}
