# `nix flake check`: the checks of ci/test that run on any machine, with nixpkgs' programs, and the scenarios in
# machines of their own. A check is a derivation: it passes if it builds.
{
  deploy-rs,
  pkgs,
  self,
}: let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  workspace = self.packages.${system}.cim-workspace;

  # The workspace's derivation with another command instead of the build.
  cargo = name: inputs: command:
    workspace.overrideAttrs (old: {
      pname = "cim-${name}";
      nativeBuildInputs = (old.nativeBuildInputs or []) ++ inputs;
      buildPhase = ''
        runHook preBuild
        export HOME=$TMPDIR
        ${command}
        runHook postBuild
      '';
      installPhase = "touch $out";
      doInstallCheck = false;
    });

  # Every .nix file and no others.
  nixFiles = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
  };

  pythonFiles = lib.fileset.toSource {
    root = ./tests;
    fileset = lib.fileset.fileFilter (file: file.hasExt "py") ./tests;
  };

  # deploy-rs builds the systems that its checks are about, so each system checks the nodes that it can build.
  nodes = lib.filterAttrs (name: _: self.nixosConfigurations.${name}.pkgs.stdenv.hostPlatform.system == system) self.deploy.nodes;
in
  {
    build = workspace;
    clippy = cargo "clippy" [pkgs.clippy] "cargo clippy --workspace --all-targets --offline --keep-going -- -D warnings";
    fmt = cargo "fmt" [pkgs.rustfmt] "cargo fmt --all -- --check";

    # Tests that compare with an old nats-server or with readers of Parquet name them as skipped; ci/test has them.
    tests = cargo "tests" [pkgs.minio pkgs.nats-server pkgs.rclone] ''
      export CIM_NATS_SERVER=${lib.getExe pkgs.nats-server} CIM_MINIO=${lib.getExe pkgs.minio}
      cargo build --workspace --bins --offline
      cargo build --workspace --bin cim-storage-manager-sabotaged --offline \
        --features cim-storage-manager/fail-points,cim-storage-manager/sabotage
      cargo test --workspace --offline --no-fail-fast
    '';

    nix-format = pkgs.runCommand "cim-nix-format" {nativeBuildInputs = [pkgs.alejandra pkgs.deadnix];} ''
      alejandra --check --quiet ${nixFiles}
      deadnix --fail ${nixFiles}
      touch $out
    '';

    # The loop that drives machines and the other test scripts, without machines.
    test-scripts =
      pkgs.runCommand "cim-test-scripts" {
        nativeBuildInputs = [(pkgs.python3.withPackages (python: [python.mypy python.pyflakes]))];
      } ''
        cp ${pythonFiles}/*.py .
        mypy --strict *.py
        pyflakes *.py
        python -m unittest discover --pattern 'test_*.py'
        touch $out
      '';

    # The functional core: its tests, and its rendering of the inventories compared with fixtures/rendered.
    core =
      pkgs.runCommand "cim-core" {
        report = import ./lib/tests/run.nix;
        passAsFile = ["report"];
      } ''
        cat $reportPath >&2
        tail -n 1 $reportPath | grep -Eq '^[1-9][0-9]* passed, 0 failed$'
        touch $out
      '';
    rendered = pkgs.runCommand "cim-rendered" {} ''
      awk -v to=rendered -f ${../ci/nix.d/unpack.awk} ${pkgs.writeText "rendered" (import ./lib/tests/rendered.nix)}
      diff -ru ${../fixtures/rendered} rendered >&2 || { echo "fixtures/rendered is not what is rendered: run \`ci/nix --accept\`" >&2; exit 1; }
      touch $out
    '';

    modules = pkgs.writeText "cim-modules" (import ./tests/modules.nix {inherit lib;});

    # An option without a description fails here too.
    options-doc = pkgs.runCommand "cim-options-doc" {} ''
      diff -u ${../docs/options.md} ${pkgs.writeText "options.md" (import ./options-doc.nix {inherit lib;})} >&2 ||
        { echo "docs/options.md is not what the modules say: run \`ci/options-doc\`" >&2; exit 1; }
      touch $out
    '';
  }
  // deploy-rs.lib.${system}.deployChecks (self.deploy // {inherit nodes;})
  // (import ./tests {inherit pkgs self;}).checks
