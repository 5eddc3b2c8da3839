# A fake Wasabi in a machine of its own, for labs. It keeps no data safe, so it is refused anywhere else.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkDefault mkEnableOption mkIf mkOption types;
  cfg = config.cim.fakeWasabi;
  cim = import ./types.nix {inherit lib;};
  tools = import ./units.nix {inherit lib;};
  inherit (config.cim) rendered;
  inherit (config.cim.read) own;
  packages = pkgs.cim or (import ../packages.nix {inherit pkgs;});
in {
  imports = [./inventory.nix ./security.nix ./tiers.nix];

  options.cim.fakeWasabi = {
    enable = mkEnableOption "a fake Wasabi, in a lab";

    package = mkOption {
      type = types.package;
      default = packages.cim-fake-wasabi;
      defaultText = lib.literalMD "the program of this project";
      example = lib.literalExpression "pkgs.cim.cim-fake-wasabi";
      description = "The package of `cim-fake-wasabi`.";
    };

    port = mkOption {
      type = types.port;
      default = 9000;
      example = 9000;
      description = "The port that it serves S3 on.";
    };

    region = mkOption {
      type = types.str;
      default = "us-east-1";
      example = "eu-central-1";
      description = "The region that requests to it are signed for.";
    };

    from = mkOption {
      type = types.listOf cim.node;
      default = [];
      example = ["lan"];
      description = "Networks of `cim.networks` that may reach it, besides the hosts that tier to it.";
    };
  };

  config = lib.mkMerge [
    {
      cim.fakeWasabi =
        {enable = mkDefault (own.role or "" == "fake-wasabi");}
        // lib.optionalAttrs (own.role or "" == "fake-wasabi") (lib.mapAttrs (_: mkDefault) (removeAttrs (own.s3 or {}) ["provider"]));
    }

    # Outside a lab the core refuses the role, and with it the system.
    (mkIf cfg.enable {
      cim = {
        roles = ["fake-wasabi"];
        entry.s3 = {
          provider = "fake-wasabi";
          inherit (cfg) port region from;
        };
        programs.cim-fake-wasabi = lib.getExe cfg.package;
      };
      systemd.services.cim-fake-wasabi = tools.unit [] rendered.units.cim-fake-wasabi;
      users = tools.users rendered.users;
    })
  ];
}
