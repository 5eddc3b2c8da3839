# The tests in machines: one for each file of fixtures/scenarios, and those of the modules themselves.
#
#   checks    the builds of `nix flake check`
#   reports   the results of each scenario's run, passed or not
{
  pkgs,
  self,
}: let
  inherit (pkgs) lib;

  inherit ((import ./lab.nix {inherit pkgs self;}).description) offers;

  directory = ../../fixtures/scenarios;
  files = lib.filterAttrs (name: kind: kind == "regular" && lib.hasSuffix ".toml" name) (builtins.readDir directory);
  scenarios = lib.mapAttrs' (file: _:
    lib.nameValuePair (lib.removeSuffix ".toml" file) (lib.importTOML (directory + "/${file}")))
  files;

  # The capabilities that a scenario requires, and those that its steps and nodes need and machines lack. The
  # harness decides in the end; a scenario that it still skips is a verdict that fails.
  does = kind: step: step.do == kind || lib.any (does kind) (step.steps or []);
  any = kind: scenario: lib.any (does kind) scenario.steps;
  hasDisk = scenario: lib.any (node: node ? disk) (lib.attrValues scenario.nodes);
  needs = scenario:
    (scenario.requires or [])
    ++ lib.optional ((scenario.links or []) != [] || any "link" scenario) "links"
    ++ lib.optional (any "s3-faults" scenario) "s3-faults"
    ++ lib.optional (hasDisk scenario) "disk-full";
  lacks = scenario: lib.subtractLists offers (needs scenario);
  possible = lib.filterAttrs (_: scenario: lacks scenario == []) scenarios;
  impossible = lib.filterAttrs (_: scenario: lacks scenario != []) scenarios;

  run = name: _: import ./scenario.nix {inherit name pkgs self;};
  runs = lib.mapAttrs run possible;

  test = name: pkgs.testers.runNixOSTest (import (./. + "/${name}.nix") {inherit pkgs self;});
  about-modules = ["minimal-host" "containers-isolated" "least-privilege" "upgrade-and-rollback"];
in {
  checks =
    lib.mapAttrs' (name: one: lib.nameValuePair "scenario-${name}" one.verdict) runs
    # A skipped scenario is never counted as passed: its name says so, and its content the reason.
    // lib.mapAttrs' (name: scenario:
      lib.nameValuePair "skipped-${name}"
      (pkgs.writeText "skipped-${name}" "the driver substrate lacks: ${toString (lacks scenario)}\n"))
    impossible
    // lib.genAttrs about-modules test;

  reports = pkgs.linkFarm "cim-scenario-reports" (lib.mapAttrs (_: one: one.run) runs);
}
