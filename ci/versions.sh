# shellcheck shell=bash disable=SC2034 # Sourced; its readers use the variables.
# Every program and package that ci/ brings, pinned, in one place.
#
# NAME_module    what `go install` builds
# NAME_version   the version, as the module proxy spells it
# NAME_go        the `go` line of the module's own go.mod: the oldest Go that builds it
# NAME_seconds   how long the build took on two cores with nothing in any cache
# NAME_ldflags   what the linker writes into it, where it would not know its version otherwise

nats_server_module=github.com/nats-io/nats-server/v2
nats_server_version=v2.15.3
nats_server_go=1.26.0
nats_server_seconds=30

minio_module=github.com/minio/minio
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
minio_go=1.24.0
minio_seconds=120

# What else may be the NAS: see docs/nas.md. SeaweedFS has no versions that a Go proxy knows; this is 4.53.
# Its go.mod replaces a module, with which `go install` builds nothing.
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

# Older servers, which streams are restored from and onto in a test: the newest of each line, and of the oldest
# one what Debian 12 has in apt. Where apt does not have that, it comes from source as the others do.
old_nats_server_module=github.com/nats-io/nats-server/v2
old_nats_server_versions=(v2.9.10 v2.10.29 v2.11.17 v2.12.15 v2.14.10)
old_nats_server_go=1.26.0
old_nats_server_seconds=30

# Readers of Parquet that are not ours, for the test that the archive is open.
pyarrow_version=26.0.1
duckdb_version=2.0.0

# Check the Python of the machine tests: the driver's loop and the Debian machines.
mypy_version=2.4.1
pyflakes_version=4.1.0

# Finds dead code in Nix files; from crates.io. (alejandra, which formats them, is in ci/nix.d/format.)
deadnix_version=1.3.1

# The suite that fake Wasabi is held against, and what it imports; see ci/s3-tests.
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
