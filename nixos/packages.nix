# Every program of the workspace. One derivation compiles them all, so dependencies are built once; the
# named packages hold one program each, so that a machine has what it runs and no more.
{
  pkgs,
  # What `--version` says after the version.
  commit ? null,
}: let
  inherit (pkgs) lib;

  # Sources that a build and its tests read, and no others: another page or module rebuilds nothing.
  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../clippy.toml
      ../rustfmt.toml
      ../components
      ../docs/scenarios.md
      ../fixtures
      ../harness
      ./lib/lab-keys.nix
    ];
  };

  manifest = lib.importTOML ../Cargo.toml;

  workspace = pkgs.rustPlatform.buildRustPackage {
    pname = "cim";
    inherit (manifest.workspace.package) version;
    src = source;
    cargoLock.lockFile = ../Cargo.lock;
    env = lib.optionalAttrs (commit != null) {CIM_COMMIT = commit;};
    cargoBuildFlags = ["--workspace" "--bins"];
    # Fail points and sabotage are for tests: a release refuses to be built with them, and this checks it.
    postInstall = ''
      for program in cim-storage-manager cim-component-registry cim-information-units; do
        if grep -aqE 'fail-point/[a-z]|sabotage/[a-z]|CIM_FAIL_POINT|CIM_SABOTAGE' $out/bin/$program; then
          echo "$program has test hooks in it: it must not be shipped" >&2
          exit 1
        fi
      done
    '';
    # Tests start nats-server and MinIO; they are a check of their own, see checks.nix.
    doCheck = false;
    meta = {
      description = "Tiers JetStream to S3, brings it back exactly, and proves it";
      homepage = manifest.workspace.package.repository;
      license = lib.licenses.asl20;
      platforms = lib.platforms.linux;
    };
  };

  program = name: description:
    pkgs.runCommand "${name}-${workspace.version}" {
      inherit (workspace) version;
      pname = name;
      nativeBuildInputs = [pkgs.installShellFiles];
      meta =
        workspace.meta
        // {
          inherit description;
          mainProgram = name;
        };
    } ''
      install -D -t $out/bin ${workspace}/bin/${name}
      # Some programs have no completions, and a program built for another machine cannot be asked.
      if $out/bin/${name} completions bash >${name}.bash 2>/dev/null; then
        $out/bin/${name} completions fish >${name}.fish
        $out/bin/${name} completions zsh >_${name}
        installShellCompletion ${name}.{bash,fish} _${name}
      fi
    '';
in rec {
  cim-storage-manager = program "cim-storage-manager" "Tiers JetStream streams to S3 and restores them exactly";
  cim-component-registry = program "cim-component-registry" "Which components run, what each can do, and which need which";
  cim-information-units = program "cim-information-units" "Immutable content by content id, with metadata, versions, links and types";
  cim-harness = program "cim-harness" "Runs scenarios in labs of real machines and lets an oracle judge them";
  cim-fake-wasabi = program "cim-fake-wasabi" "An S3 server that behaves like Wasabi, bad days included; for tests";
  cim-workspace = workspace;
  default = cim-harness;
}
