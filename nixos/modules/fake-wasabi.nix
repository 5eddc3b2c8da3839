# A fake Wasabi in a machine of its own, for labs. It keeps nothing safe, so it refuses to be anywhere else.
{
  config,
  lib,
  pkgs,
  ...
}: let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.cim.fakeWasabi;
  cim = import ./types.nix {inherit lib;};
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
}
