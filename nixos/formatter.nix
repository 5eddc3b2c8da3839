# `nix fmt`: without arguments, all files below the current directory.
{pkgs}:
pkgs.writeShellApplication {
  name = "format";
  runtimeInputs = [pkgs.alejandra];
  text = ''exec alejandra --quiet "''${@:-.}"'';
}
