{
  description = "CIM's recovery toolkit: events down the tiers, back exactly, and proven";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    deploy-rs.url = "github:serokell/deploy-rs";
    deploy-rs.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = {
    self,
    nixpkgs,
    deploy-rs,
  }: let
    inherit (nixpkgs) lib;
    pkgsOf = lib.genAttrs ["x86_64-linux" "aarch64-linux"] (system:
      import nixpkgs {
        inherit system;
        # MinIO is marked insecure in nixpkgs; the file says why it is permitted, and where it may run.
        config = import ./nixos/insecure.nix;
        # `--version` says the commit. A tree with changes has none: nothing is built anew for it.
        overlays = [
          (pkgs: _: {
            cim = import ./nixos/packages.nix {
              inherit pkgs;
              commit = self.shortRev or null;
            };
          })
        ];
      });
    forEach = f: lib.mapAttrs (_: f) pkgsOf;
    testsOf = pkgs: import ./nixos/tests {inherit pkgs self;};
    # The installation that `nixosConfigurations` and `deploy` describe: replace it by your own.
    inventory = ./fixtures/inventory/example.json;
  in {
    # What is built: each program, with the versions of Cargo.lock, and what the scenarios left behind.
    packages = forEach (pkgs: pkgs.cim // {scenario-reports = (testsOf pkgs).reports;});
    apps = forEach (pkgs: import ./nixos/apps.nix {inherit pkgs self;});
    devShells = forEach (pkgs: {default = import ./nixos/shell.nix {inherit pkgs;};});
    formatter = forEach (pkgs: import ./nixos/formatter.nix {inherit pkgs;});

    # What a machine imports: one module a role. `default` has all of them.
    nixosModules = import ./nixos/modules/list.nix;

    # What is deployed: the inventory's machines, with the tests in `system.checks` if you say so.
    nixosConfigurations = import ./nixos/configurations.nix {inherit lib inventory pkgsOf self;};
    deploy.nodes = import ./nixos/deploy.nix {inherit deploy-rs lib self;};

    # What is proven: every file of fixtures/scenarios in machines of its own, and all that ci/test has.
    checks = forEach (pkgs: import ./nixos/checks.nix {inherit deploy-rs pkgs self;});
  };
}
