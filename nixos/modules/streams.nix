# Streams and buckets: declared here, compared with the server's, and reconciled.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkDefault mkIf mkOption types;
  cfg = config.cim;
  cim = import ./types.nix {inherit lib;};
  core = import ../lib;

  storage = mkOption {
    type = types.enum ["file" "memory"];
    default = "file";
    example = "memory";
    description = "The server's storage: on disk or in memory. A stream in memory is lost when the server ends.";
  };
  maybe = type: example: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit example description;
    };

  stream = types.submodule {
    options = {
      inherit storage;
      subjects = mkOption {
        type = types.listOf cim.subject;
        example = ["cim.>"];
        description = "Subjects that it stores. Two streams that could store the same message are refused.";
      };
      retention = mkOption {
        type = types.enum ["limits" "interest" "workqueue"];
        default = "limits";
        example = "limits";
        description = "The rule that removes messages: limits, or acks of the consumers.";
      };
      discard = mkOption {
        type = types.enum ["old" "new"];
        default = "old";
        example = "new";
        description = "The message that a full stream drops: its oldest one, or the new one.";
      };
      maxBytes = maybe types.ints.positive 107374182400 "Largest size in bytes. Null: no limit of its own.";
      maxMessages = maybe types.ints.positive 1000000 "Largest number of messages.";
      maxAge = maybe cim.duration "8760h" "Highest age of a message.";
      maxMessageSize = maybe (types.ints.between 1 67108864) 65536 "Largest size of a message in bytes.";
      duplicateWindow = mkOption {
        type = cim.duration;
        default = "2m";
        example = "10m";
        description = "Time in which a message with the same `Nats-Msg-Id` counts as the same.";
      };
      description = maybe types.singleLineStr "Everything that happened." "Its purpose, for people.";
    };
  };

  bucket = types.submodule {
    options = {
      inherit storage;
      kind = mkOption {
        type = types.enum ["kv" "object"];
        default = "kv";
        example = "object";
        description = "A key-value bucket or an object store.";
      };
      history = mkOption {
        type = types.ints.between 1 64;
        default = 1;
        example = 8;
        description = "Number of values that are kept for each key.";
      };
      maxBytes = maybe types.ints.positive 1073741824 "Largest size in bytes.";
      ttl = maybe cim.duration "24h" "Lifetime of a value.";
      users = mkOption {
        type = types.listOf (types.enum (lib.attrNames (import ../lib/components.nix)));
        default = [];
        example = ["component-registry"];
        description = "The components that read and write it.";
      };
      description = maybe types.singleLineStr "Who is running." "Its purpose, for people.";
    };
  };

  packages = pkgs.cim or (import ../packages.nix {inherit pkgs;});
  scheme =
    if cfg.host.nats.tls == null
    then "nats"
    else "tls";
  # Public keys and addresses, no secret.
  inventory = pkgs.writeText "inventory.json" (builtins.toJSON cfg.assembled);
in {
  imports = [./host.nix];

  options.cim.reconcile.keyFile = mkOption {
    type = types.nullOr cim.secretFile;
    default = null;
    example = "/var/lib/cim-secrets/operator.nk";
    description = ''
      The seed of an operator's nkey. With it the host runs `cim-harness inventory apply` for itself whenever
      its streams or buckets are declared otherwise. Null, and an operator runs `plan` and `apply` by hand.
    '';
  };

  options.cim.streams = mkOption {
    type = types.attrsOf stream;
    default = {};
    example = {EVENTS.subjects = ["cim.>"];};
    description = ''
      JetStream's streams, by name. Two that could hold the same message are refused when the system is
      evaluated. A stream that is missing is made, one that differs is changed where that loses nothing,
      and one that is not declared is left alone: by `cim-harness inventory apply`, which
      `cim.reconcile.keyFile` lets the host do for itself.
    '';
  };

  options.cim.buckets = mkOption {
    type = types.attrsOf bucket;
    default = {};
    example = {settings.history = 8;};
    description = "JetStream's key-value and object-store buckets, by name; reconciled as streams are.";
  };

  config = lib.mkMerge [
    {
      cim = {
        streams = lib.mapAttrs (_: lib.mapAttrs (_: mkDefault)) (cfg.read.inventory.streams or {});
        buckets = lib.mapAttrs (_: lib.mapAttrs (_: mkDefault)) (cfg.read.inventory.buckets or {});
        whole = {inherit (cfg) streams buckets;};
      };
    }
    (mkIf (cfg.host.enable && cfg.reconcile.keyFile != null) {
      systemd.services.cim-streams = {
        description = "Streams and buckets as they are declared";
        after = ["nats.service"];
        wants = ["nats.service"];
        wantedBy = ["multi-user.target"];
        unitConfig.StartLimitIntervalSec = 0;
        serviceConfig =
          core.hardening.service
          // core.hardening.peers []
          // {
            Type = "oneshot";
            RemainAfterExit = true;
            DynamicUser = true;
            LoadCredential = "operator.nk:${cfg.reconcile.keyFile}";
            ExecStart = lib.concatStringsSep " " [
              "${packages.cim-harness}/bin/cim-harness inventory apply --inventory ${inventory}"
              "--nats ${scheme}://127.0.0.1:${toString cfg.host.nats.port} --nkey %d/operator.nk"
            ];
            # NATS may still be reading its store.
            Restart = "on-failure";
            RestartSec = "5s";
          };
      };
    })
  ];
}
