# All parts that need nixpkgs, evaluated and not built: for ci/nix, on a machine without flakes.
#
#   nix-instantiate --eval --strict --expr 'import ./nixos/evaluate.nix {nixpkgs = <nixpkgs>;}'
#
# With nixpkgs' `lib` alone (a directory that has `lib` and nothing else), the parts that need packages are left
# out, and the text lists them.
{nixpkgs}: let
  lib = import (nixpkgs + "/lib");
  whole = builtins.pathExists (nixpkgs + "/nixos");

  modules = import ./tests/modules.nix {inherit lib;};
  reference = let
    file = ../docs/options.md;
  in
    if builtins.readFile file == import ./options-doc.nix {inherit lib;}
    then "as the modules say"
    else throw "docs/options.md differs from the modules: run `ci/options-doc`";

  pkgsOf = lib.genAttrs ["x86_64-linux" "aarch64-linux"] (system:
    import nixpkgs {
      inherit system;
      config = import ./insecure.nix;
    });
  self = {
    nixosModules = import ./modules/list.nix;
    packages = lib.mapAttrs (_: pkgs: import ./packages.nix {inherit pkgs;}) pkgsOf;
  };
  configurations = import ./configurations.nix {
    inherit pkgsOf self;
    lib = lib // {nixosSystem = args: import (nixpkgs + "/nixos/lib/eval-config.nix") ({system = null;} // args);};
    inventory = ../fixtures/inventory/example.json;
  };
  tests = import ./tests {
    pkgs = pkgsOf.${builtins.currentSystem};
    inherit self;
  };
  evaluated = lib.mapAttrsToList (name: value: builtins.seq value name);
  machines = evaluated (lib.mapAttrs (_: machine: machine.config.system.build.toplevel.drvPath) configurations);
  checks = evaluated (lib.mapAttrs (_: test: test.drvPath) tests.checks);
in
  "modules: ${modules}; options reference: ${reference}; "
  + (
    if whole
    then "machines: ${toString machines}; machine tests: ${toString checks}"
    else "machines and machine tests: not evaluated, this is nixpkgs' lib alone"
  )
