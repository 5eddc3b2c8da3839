# The NAS: an S3 service on one address, a bucket with versions, and a key for the storage manager that can
# do no more than its work.
{
  config,
  lib,
  options,
  pkgs,
  ...
}: let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.cim.nas;
  cim = import ./types.nix {inherit lib;};
in {
  imports = [./inventory.nix ./security.nix ./tiers.nix];

  options.cim.nas = {
    enable = mkEnableOption "the NAS: an S3 service for the secondary tier";

    provider = mkOption {
      type = types.enum ["minio" "garage" "rustfs"];
      default = "minio";
      example = "rustfs";
      description = ''
        The S3 server. `minio` is what the scenarios run with; its upstream is archived, so it needs
        `cim.nas.permitInsecureMinio`. `garage` and `rustfs` are nixpkgs' own modules with this module's
        firewall and paths; their bucket and key are made by hand once, as docs/nixos.md says.
      '';
    };

    package = mkOption {
      type = types.package;
      default =
        {
          minio = pkgs.minio;
          garage = pkgs.garage_2;
          rustfs = pkgs.rustfs;
        }
        .${cfg.provider};
      defaultText = lib.literalMD "`pkgs.minio`, `pkgs.garage_2` or `pkgs.rustfs`, as `provider` says";
      example = lib.literalExpression "pkgs.minio";
      description = "The provider's package.";
    };

    permitInsecureMinio = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Permits the one version of MinIO that nixos/insecure.nix names, which nixpkgs marks as insecure: its
        upstream is archived, and whoever reaches its port can write objects without a valid signature
        (CVE-2026-40344, CVE-2026-41145). This module keeps that port from everybody but the hosts that
        tier to it; say true when you have read that and it is enough for you.
      '';
    };

    port = mkOption {
      type = types.port;
      default = 9000;
      example = 9000;
      description = "The port that it serves S3 on. There is no console.";
    };

    region = mkOption {
      type = types.str;
      default = "us-east-1";
      example = "us-east-1";
      description = "The region that requests to it are signed for.";
    };

    from = mkOption {
      type = types.listOf cim.node;
      default = [];
      example = ["lan"];
      description = ''
        Networks of `cim.networks` that may reach it, besides the hosts that tier to it. With MinIO each
        of them can write without a key.
      '';
    };
  };
}
