# One file of fixtures/scenarios in NixOS machines: the operator's, on which the harness runs, and the three
# that it breaks.
#
# A failed build leaves nothing behind, but a failed scenario must leave its report. So there are two
# derivations. `run` boots the machines, drives the scenario to its end and keeps the results with the
# harness's exit status; it fails only if the operator's machine does not boot or the time is up.
# `verdict` reads the status and fails unless the scenario passed. `nix flake check` builds verdicts; the
# report of a verdict that failed is in the run, which was built:
#
#   nix build .#checks.x86_64-linux.scenario-tiering.run
#
# A run is a value like any other, so it is not repeated as long as nothing changed. Another seed is another
# run: `verdict.withSeed 7`.
{
  name,
  pkgs,
  self,
  seed ? 1,
  flags ? [],
}: let
  inherit (pkgs) lib;
  lab = import ./lab.nix {inherit pkgs self;};
  scenario = lib.importTOML (../../fixtures/scenarios + "/${name}.toml");

  run = pkgs.testers.runNixOSTest {
    name = "cim-scenario-${name}";
    nodes = {
      inherit (lab) operator;
      host = {
        imports = [(lab.node "host")];
        # The configuration that the harness would write for its own programs.
        cim.components.storage-manager.settings = scenario.storage-manager or {};
      };
      nas = lab.node "nas";
      wasabi = lab.node "wasabi";
    };
    # Emulated, four machines take longer than the scenario's own limits allow. Older test drivers have no
    # such option. It may be read only inside `config`: a module's structure decides which options exist.
    imports = [({options, ...}: {config = lib.optionalAttrs (options ? qemu.forceAccel) {qemu.forceAccel = true;};})];
    globalTimeout = 3600;
    testScript = import ./script.nix {inherit pkgs;} "scenario" {
      inherit name;
      lab = lab.description;
      flags = ["--seed" (toString seed) "--dir" "/etc/cim-lab/scenarios"] ++ flags;
    };
  };

  verdict =
    pkgs.runCommand "cim-scenario-${name}" {
      nativeBuildInputs = [pkgs.jq];
      passthru = {
        inherit run;
        withSeed = other:
          (import ./scenario.nix {
            inherit name pkgs self flags;
            seed = other;
          })
          .verdict;
      };
    } ''
      status=$(<${run}/status)
      cat ${run}/progress >&2
      if ((status != 0)); then
        echo "scenario ${name} ended with status $status; its report is in ${run}" >&2
        jq '{verdict, reason, oracle, steps}' ${run}/report.json >&2 || true
        exit 1
      fi
      ln -s ${run} $out
    '';
in {
  inherit run verdict;
}
