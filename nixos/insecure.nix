# Packages that nixpkgs marks as insecure and this project permits, by exact name: a new version needs a new
# permission.
#
# MinIO's upstream was archived in February 2026. Known and unfixed are, among others, CVE-2026-40344 and
# CVE-2026-41145: any client that reaches the port can write objects without a valid signature. So a MinIO of
# this project listens on one address, the firewall admits only the host of the installation, the bucket keeps
# versions, and the storage manager notices a changed segment by its hash. If that is not enough, use
# `cim.nas.provider = "seaweedfs"` or `"versitygw"`, which need no permission.
{
  permittedInsecurePackages = ["minio-2025-10-15T17-29-55Z"];
}
