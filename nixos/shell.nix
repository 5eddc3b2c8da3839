# `nix develop`: the toolchain, and every program that ci/ would otherwise fetch.
{pkgs}:
pkgs.mkShell {
  packages = [
    pkgs.cargo
    pkgs.clippy
    pkgs.rust-analyzer
    pkgs.rustc
    pkgs.rustfmt

    pkgs.cargo-deny
    pkgs.shellcheck

    pkgs.minio
    pkgs.minio-client
    pkgs.nats-server
    pkgs.natscli
    pkgs.nkeys
    pkgs.rclone

    pkgs.go
    pkgs.qemu

    pkgs.alejandra
    pkgs.deadnix
    pkgs.deploy-rs
    (pkgs.python3.withPackages (python: [python.mypy python.pyarrow python.pyflakes]))
  ];
  env.RUST_SRC_PATH = pkgs.rustPlatform.rustLibSrc;
}
