# `nix run`: the harness, with the programs that a lab of processes needs on its PATH and the scenarios beside it.
{
  pkgs,
  self,
}: let
  inherit (pkgs) lib;
  cim = self.packages.${pkgs.stdenv.hostPlatform.system};
  harness = pkgs.writeShellApplication {
    name = "cim-harness";
    runtimeInputs = [cim.cim-harness cim.cim-storage-manager cim.cim-fake-wasabi pkgs.nats-server pkgs.minio];
    # The harness looks for fixtures/scenarios upwards from its directory; a copy in the store has none.
    text = ''
      if [[ ! -d fixtures/scenarios ]]; then
        export CIM_SCENARIOS="''${CIM_SCENARIOS:-${../fixtures/scenarios}}" CIM_RUNS_DIR="''${CIM_RUNS_DIR:-$PWD/runs}"
      fi
      exec cim-harness "$@"
    '';
  };
in {
  default = {
    type = "app";
    program = lib.getExe harness;
    meta.description = "Runs scenarios in labs of real programs";
  };
}
