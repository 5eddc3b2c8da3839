# What nixpkgs marks as insecure and this project permits nevertheless, by exact name: a new version
# asks anew.
#
# MinIO's upstream was archived in February 2026. Known and unfixed are, among others, CVE-2026-40344 and
# CVE-2026-41145: whoever reaches the port can write objects without a valid signature. So a MinIO of this
# project listens to one address, the firewall lets nobody but the host of the installation through, the
# bucket keeps versions, and the storage manager notices a changed segment by its hash. Where that is not
# enough: `cim.nas.provider = "seaweedfs"` or `"versitygw"`, which need no permission.
{
  permittedInsecurePackages = ["minio-2025-10-15T17-29-55Z"];
}
