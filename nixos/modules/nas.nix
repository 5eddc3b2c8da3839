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
  core = import ../lib;
  tools = import ./units.nix {inherit lib;};
  inherit (config.cim) rendered;
  inherit (config.cim.read) own;
  is = provider: mkIf (cfg.enable && cfg.provider == provider);

  clients = lib.unique (map (rule: rule.from) rendered.firewall.input);
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
        `cim.nas.permitInsecureMinio`. `garage` and `rustfs` need no permission; their bucket and key are
        made by hand once, as docs/nixos.md says. NixOS 26.05 has no package of RustFS: set `package`.
      '';
    };

    package = mkOption {
      type = types.package;
      default =
        {
          minio = pkgs.minio;
          garage = pkgs.garage_2;
          rustfs = pkgs.rustfs or (throw "this nixpkgs has no `rustfs`: set `cim.nas.package`, or use another `cim.nas.provider`");
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

    (is "minio" {
      assertions = [
        {
          assertion = cfg.permitInsecureMinio;
          message = "`cim.nas.provider` is `minio`, which nixpkgs marks as insecure (nixos/insecure.nix says why): set `cim.nas.permitInsecureMinio = true`, or use `rustfs` or `garage`";
        }
      ];
      # Where packages come from outside of the configuration, they are permitted there: see flake.nix.
      nixpkgs.config = mkIf (cfg.permitInsecureMinio && !options.nixpkgs.pkgs.isDefined) (import ../insecure.nix);

      cim.programs = {
        minio = lib.getExe cfg.package;
        cim-minio-provision = "${../lib/scripts/cim-minio-provision}";
      };
      systemd.services = {
        minio = tools.unit [] rendered.units.minio;
        minio-provision =
          tools.unit [rendered.files."/etc/cim/minio-policy.json"] rendered.units.minio-provision
          // {path = [pkgs.curl pkgs.gnugrep pkgs.gnused pkgs.minio-client];};
      };
      environment.etc = tools.etc rendered.files ["/etc/cim/minio-policy.json"];
      users = tools.users rendered.users;
    })

    (is "garage" {
      services.garage = {
        enable = true;
        inherit (cfg) package;
        # GARAGE_RPC_SECRET, which even one machine needs.
        environmentFile = "/var/lib/cim-secrets/garage.env";
        settings = {
          replication_factor = 1;
          rpc_bind_addr = "127.0.0.1:3901";
          s3_api = {
            api_bind_addr = "0.0.0.0:${toString cfg.port}";
            s3_region = cfg.region;
          };
        };
      };
      # The unit is nixpkgs' own: what it says itself stays.
      systemd.services.garage.serviceConfig = lib.mapAttrs (_: mkDefault) core.hardening.service // core.hardening.peers clients;
    })

    # A unit of our own: nixpkgs has a module for RustFS only since after 26.05.
    (is "rustfs" {
      systemd.services.rustfs = tools.unit [] {
        description = "RustFS, the S3 service of the NAS";
        after = ["network-online.target"];
        wants = ["network-online.target"];
        requires = [];
        wantedBy = ["multi-user.target"];
        unitConfig.StartLimitIntervalSec = 0;
        serviceConfig =
          core.hardening.service
          // core.hardening.peers clients
          // {
            Type = "exec";
            User = "rustfs";
            Group = "rustfs";
            StateDirectory = "rustfs";
            StateDirectoryMode = "0700";
            LimitNOFILE = 65536;
            ExecStart = lib.getExe cfg.package;
            Environment = [
              "RUSTFS_ADDRESS=0.0.0.0:${toString cfg.port}"
              "RUSTFS_CONSOLE_ENABLE=false"
              "RUSTFS_REGION=${cfg.region}"
              "RUSTFS_VOLUMES=/var/lib/rustfs"
            ];
            # RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY.
            EnvironmentFile = "/var/lib/cim-secrets/rustfs.env";
            Restart = "always";
            RestartSec = "1s";
          };
      };
      users = tools.users {
        rustfs = {
          description = "RustFS, the S3 service of the NAS";
          home = "/var/lib/rustfs";
        };
      };
    })
  ];
}
