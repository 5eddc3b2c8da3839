# The NAS: an S3 service on one address, a bucket with versions, and a key for the storage manager that can
# do no more than its work.
{
  config,
  lib,
  options,
  pkgs,
  ...
}: let
  inherit (lib) mkDefault mkEnableOption mkIf mkOption types;
  cfg = config.cim.nas;
  cim = import ./types.nix {inherit lib;};
  tools = import ./units.nix {inherit lib;};
  inherit (config.cim) rendered;
  inherit (config.cim.read) own;

  # Programs of the scripts that make buckets and keys.
  clients = {
    minio = [pkgs.curl pkgs.gnugrep pkgs.gnused pkgs.minio-client];
    rustfs = clients.minio;
    garage = [pkgs.curl pkgs.gnused pkgs.jq];
    seaweedfs = [pkgs.gnugrep pkgs.gnused];
    versitygw = [pkgs.curl pkgs.gnugrep pkgs.gnused];
  };
  # Programs of the server's own unit, if it needs any.
  callsFor.versitygw = [pkgs.e2fsprogs pkgs.util-linux];
  programOf.seaweedfs = "weed";
  # The oldest versions known to write an object to disk before they answer, as configured here.
  oldest = {
    seaweedfs = "4.53";
    versitygw = "1.8.0";
  };
  files = lib.filter (path: rendered.files ? ${path}) ["/etc/cim/nas-policy.json" "/etc/garage.toml"];
in {
  imports = [./inventory.nix ./security.nix ./tiers.nix];

  options.cim.nas = {
    enable = mkEnableOption "the NAS: an S3 service for the secondary tier";

    provider = mkOption {
      type = types.enum ["minio" "seaweedfs" "versitygw" "garage" "rustfs"];
      default = "minio";
      example = "seaweedfs";
      description = ''
        The S3 server; docs/nas.md says which to choose and why. `minio` is the one that the scenarios use by
        default; its upstream is archived, so it needs `cim.nas.permitInsecureMinio`, and the
        others need no permission. `seaweedfs` from 4.53 and `versitygw` from 1.8.0 on: set `package` where
        nixpkgs has an older one. `garage` ignores the conditions of writes, so it can be the tertiary tier and
        not the secondary. NixOS 26.05 has no package of RustFS: set `package`. Buckets and the storage
        manager's key are made with each of them.
      '';
    };

    package = mkOption {
      type = types.package;
      default =
        {
          inherit (pkgs) minio seaweedfs versitygw;
          garage = pkgs.garage_2;
          rustfs = pkgs.rustfs or (throw "this nixpkgs has no `rustfs`: set `cim.nas.package`, or use another `cim.nas.provider`");
        }
        .${cfg.provider};
      defaultText = lib.literalMD "`pkgs.minio`, `pkgs.seaweedfs`, `pkgs.versitygw`, `pkgs.garage_2` or `pkgs.rustfs`, as `provider` says";
      example = lib.literalExpression "pkgs.minio";
      description = "The provider's package.";
    };

    permitInsecureMinio = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Permits the one version of MinIO that nixos/insecure.nix names, which nixpkgs marks as insecure: its
        upstream is archived, and any client that reaches its port can write objects without a valid signature
        (CVE-2026-40344, CVE-2026-41145). This module opens that port only to the hosts that tier to it; set
        this to true if that protection is enough for you.
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

  config = lib.mkMerge [
    {
      cim.nas =
        {enable = mkDefault (own.role or "" == "nas");}
        // lib.optionalAttrs (own.role or "" == "nas") (lib.mapAttrs (_: mkDefault) (own.s3 or {}));
    }

    (mkIf cfg.enable {
      cim.roles = ["nas"];
      cim.entry.s3 = {inherit (cfg) provider port region from;};
    })

    (mkIf (cfg.enable && cfg.provider == "minio") {
      assertions = [
        {
          assertion = cfg.permitInsecureMinio;
          message = "`cim.nas.provider` is `minio`, which nixpkgs marks as insecure (nixos/insecure.nix says why): set `cim.nas.permitInsecureMinio = true`, or use `seaweedfs` or `versitygw`";
        }
      ];
      # Packages that come from outside the configuration are permitted there: see flake.nix.
      nixpkgs.config = mkIf (cfg.permitInsecureMinio && !options.nixpkgs.pkgs.isDefined) (import ../insecure.nix);
    })

    (mkIf (cfg.enable && oldest ? ${cfg.provider}) {
      assertions = [
        {
          assertion = lib.versionAtLeast (lib.getVersion cfg.package) oldest.${cfg.provider};
          message = "`cim.nas.package` is ${cfg.provider} ${lib.getVersion cfg.package}, which is not known to write objects to disk before it answers, so a power cut could lose confirmed messages: use ${oldest.${cfg.provider}} or newer";
        }
      ];
    })

    (mkIf cfg.enable {
      cim.programs =
        {${programOf.${cfg.provider} or cfg.provider} = lib.getExe cfg.package;}
        // lib.genAttrs ["cim-minio-provision" "cim-garage-provision" "cim-seaweedfs-provision" "cim-versitygw-provision" "cim-synced-directory"]
        (script: "${../lib/scripts + "/${script}"}");
      # Files that a unit reads at its start and that systemd does not see in the unit.
      systemd.services = lib.mapAttrs (name: unit: let
        path =
          if lib.hasSuffix "-provision" name
          then clients.${cfg.provider}
          else callsFor.${cfg.provider} or [];
      in
        tools.unit (map (path: rendered.files.${path}) files) unit // lib.optionalAttrs (path != []) {inherit path;})
      (lib.filterAttrs (name: _: lib.hasPrefix cfg.provider name) rendered.units);
      environment.etc = tools.etc rendered.files files;
      # Garage is administered by its own program.
      environment.systemPackages = lib.optional (cfg.provider == "garage") cfg.package;
      users = tools.users rendered.users;
    })
  ];
}
