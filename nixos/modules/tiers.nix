# The tiers that the storage manager copies acked messages to.
{
  config,
  lib,
  ...
}: let
  inherit (lib) mkDefault mkOption types;
  cim = import ./types.nix {inherit lib;};

  tier = description: example:
    mkOption {
      type = types.nullOr (types.submodule {
        options = {
          host = mkOption {
            type = types.nullOr cim.node;
            default = null;
            example = "nas";
            description = "A machine of the inventory that serves S3. Either this or `endpoint`.";
          };
          endpoint = mkOption {
            type = types.nullOr cim.url;
            default = null;
            example = "https://s3.eu-central-1.wasabisys.com";
            description = "An S3 service elsewhere. Either this or `host`.";
          };
          region = mkOption {
            type = types.nullOr types.str;
            default = null;
            example = "eu-central-1";
            description = "The service's region. With `host` it is that machine's.";
          };
          bucket = mkOption {
            type = cim.bucket;
            example = "example-cim-archive";
            description = "The bucket that the archive is in. On a NAS of the inventory it is made.";
          };
        };
      });
      default = null;
      inherit description example;
    };
in {
  imports = [./inventory.nix];
  options.cim.tiers = {
    secondary =
      tier ''
        The NAS. The storage manager reads its key from `/var/lib/cim-secrets/nas.env`, two lines
        `AWS_ACCESS_KEY_ID=…` and `AWS_SECRET_ACCESS_KEY=…`. Null: nothing is tiered.
      '' {
        host = "nas";
        bucket = "cim-archive";
      };
    tertiary =
      tier ''
        Wasabi, or any S3 service far away. The key lies in `/var/lib/cim-secrets/wasabi.env`. Null: there are
        two tiers.
      '' {
        endpoint = "https://s3.eu-central-1.wasabisys.com";
        region = "eu-central-1";
        bucket = "example-cim-archive";
      };
    encryption = mkOption {
      type = types.nullOr (types.submodule {
        options = {
          tiers = mkOption {
            type = types.enum ["both" "wasabi" "none"];
            default = "both";
            example = "wasabi";
            description = "The tiers whose objects are encrypted from now on. With `none` keys read what was encrypted before.";
          };
          key = mkOption {
            type = types.nullOr cim.node;
            default = null;
            example = "2027";
            description = ''
              The name of the key that writes, and reads: `2027` is the file
              `/var/lib/cim-secrets/archive-2027.key`, as `cim-storage-manager key new` makes it.
            '';
          };
          moreKeys = mkOption {
            type = types.listOf cim.node;
            default = [];
            example = ["2026"];
            description = "Names of keys that read as well: those that have written before, or a recovery key.";
          };
        };
      });
      default = null;
      example = {
        key = "2027";
        moreKeys = ["2026"];
      };
      description = ''
        Encryption of the archive, with keys that stay on this machine (docs/storage-manager.md). The recovery key
        does not belong here: with it a new host reads the archive when this one is lost. Null: the archive is in
        the clear.
      '';
    };
    retention = mkOption {
      type = types.listOf (types.submodule {
        options = let
          limit = type: example: description:
            mkOption {
              type = types.nullOr type;
              default = null;
              inherit example description;
            };
        in {
          streams = mkOption {
            type = types.listOf cim.streamGlob;
            example = ["LOGS_*"];
            description = "Names of streams, in which `*` stands for any text.";
          };
          tier = limit (types.enum ["nas" "wasabi"]) "nas" "The tier. Null: both.";
          maxAge = limit cim.duration "9600h" "The oldest that a message gets.";
          maxMessages = limit types.ints.positive 1000000 "The most messages.";
          maxBytes = limit types.ints.positive 10737418240 "The most bytes of messages.";
          dropped = limit cim.duration "2160h" "The time after which a stream that JetStream does not have any more leaves the archive.";
          leftTimelines = limit cim.duration "2160h" "The time after which the messages that only a left timeline has leave the archive.";
        };
      });
      default = [];
      example = [
        {
          streams = ["LOGS_*"];
          maxAge = "9600h";
        }
      ];
      description = ''
        How long the archive is kept (docs/storage-manager.md). The first entry that names a stream and a tier holds. A
        stream that no entry names is kept for ever.
      '';
    };
  };

  config.cim = {
    tiers = lib.mapAttrs (_: mkDefault) (config.cim.read.inventory.tiers or {});
    whole.tiers = lib.filterAttrs (_: tier: tier != null && tier != []) config.cim.tiers;
  };
}
