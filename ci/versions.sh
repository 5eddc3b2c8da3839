# shellcheck shell=bash disable=SC2034 # Sourced; its readers use the variables.
# Every program and package that ci/ installs, pinned, in one place.
#
# NAME_module    the module for `go install`
# NAME_version   the version, as the module proxy spells it
# NAME_go        the `go` line of the module's own go.mod: the oldest Go that builds it
# NAME_seconds   duration of the build in seconds, on two cores with empty caches
# NAME_ldflags   flags for the linker, where the program would not know its version otherwise

nats_server_module=github.com/nats-io/nats-server/v2
nats_server_version=v2.15.3
nats_server_go=1.26.0
nats_server_seconds=30

minio_module=github.com/minio/minio
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
minio_go=1.24.0
minio_seconds=120

# Other services for the NAS: see docs/nas.md. SeaweedFS has no versions that a Go proxy knows; this is 4.53.
# Its go.mod replaces a module, and `go install` does not build such modules.
seaweedfs_module=github.com/seaweedfs/seaweedfs/weed
seaweedfs_version=v0.0.0-20261109003541-7506e5f91cd6
seaweedfs_go=1.26.6
seaweedfs_seconds=930
seaweedfs_ldflags="-X github.com/seaweedfs/seaweedfs/weed/util/version.COMMIT=$seaweedfs_version"

versitygw_module=github.com/versity/versitygw/cmd/versitygw
versitygw_version=v1.8.0
versitygw_go=1.25.0
versitygw_seconds=600
versitygw_ldflags="-X main.Version=$versitygw_version"

# MinIO's client: makes the NAS's buckets and keys.
mc_module=github.com/minio/mc
mc_version=v0.0.0-20250313080218-cf909e1063a9
mc_go=1.23.0
mc_seconds=25

# The peer of the benchmarks, and a user of NATS in the checks of rendered machines.
natscli_module=github.com/nats-io/natscli/nats
natscli_version=v0.5.1
natscli_go=1.26.0
natscli_seconds=35

# Older servers that a test restores streams from and onto: the newest of each line, and of the oldest line the
# version that Debian 12 has in apt. If apt does not have it, it is built from source like the others.
old_nats_server_module=github.com/nats-io/nats-server/v2
old_nats_server_versions=(v2.9.10 v2.10.29 v2.11.17 v2.12.15 v2.14.10)
old_nats_server_go=1.26.0
old_nats_server_seconds=30

# Independent readers of Parquet, for the test that the archive is open.
pyarrow_version=26.0.1
duckdb_version=2.0.0
polars_version=2.1.0
# ClickHouse, as a library for Python.
chdb_version=26.9.0

# Checkers of the machine tests' Python: the driver's loop and the Debian machines.
mypy_version=2.4.1
pyflakes_version=4.1.0

# Finds misspelt words (.typos.toml); its program comes in a wheel.
typos_version=1.52.0

# Finds dead code in Nix files; from crates.io. (alejandra, which formats them, is in ci/nix.d/format.)
deadnix_version=1.3.1

# The suite that fake Wasabi is tested with, and its imports; see ci/s3-tests.
s3_tests_repository=https://github.com/ceph/s3-tests
s3_tests_commit=8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3
s3_tests_packages=(boto3==1.44.8 isodate==0.7.2 munch==4.0.0 pytest==9.2.0 pytz==2026.6 requests==2.34.2)

# Services that no archive may lie on, which `check` has to refuse; see ci/unfit-services.
gofakes3_module=github.com/johannesboyne/gofakes3/cmd/gofakes3
gofakes3_version=v1.2.0
gofakes3_go=1.24.0
gofakes3_seconds=20
moto_packages=("moto[server]==5.2.5")
s3rver_version=3.7.1
s3mock_artifact=com.adobe.testing:s3mock:5.2.0:jar:exec
maven_copy=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy
