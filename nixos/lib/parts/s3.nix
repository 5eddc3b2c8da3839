# The S3 service of a NAS, and its preparation: buckets, with versions where the service has them, and a key
# for the storage manager that can do no more than its work.
#
# With every provider, an object is on the disk before the service answers: objects that the NAS has confirmed
# must survive a power cut, and no provider does that by default.
{
  host,
  buckets,
  reach,
  programs,
  configurations,
}: let
  p = import ../prelude.nix;
  hardening = import ./hardening.nix;
  inherit (import ./service.nix) unit daemon;
  inherit (host.s3) port region;
  secret = name: "/var/lib/cim-secrets/${name}";

  # Addresses that only this machine may talk to, beside the port of S3.
  besides = toString (
    if port == 9001
    then 9002
    else 9001
  );

  providers = {
    minio = {
      title = "MinIO";
      # Data has two names so that the service may make the second one itself.
      directory = "minio minio/data";
      environmentFile = secret "minio-root.env";
      serviceConfig = {
        Type = "notify";
        ExecStart = "${programs.minio} server --address 0.0.0.0:${toString port} --console-address 127.0.0.1:${besides} /var/lib/minio/data";
        Environment = [
          "MINIO_REGION=${region}"
          "MINIO_BROWSER=off"
          "MINIO_UPDATE=off"
          # MinIO syncs files by itself, but not the directories that it moves them to.
          "MINIO_FS_OSYNC=on"
          "HOME=/var/lib/minio"
        ];
      };
      provision = {
        program = programs.cim-minio-provision;
        environment = ["CIM_S3_POLICY=${configurations.policy}"];
      };
    };

    # It speaks MinIO's administration API, so the same client makes its keys.
    rustfs = {
      title = "RustFS";
      directory = "rustfs";
      environmentFile = secret "rustfs.env";
      serviceConfig = {
        Type = "notify";
        ExecStart = programs.rustfs;
        Environment = [
          "RUSTFS_ADDRESS=0.0.0.0:${toString port}"
          "RUSTFS_CONSOLE_ENABLE=false"
          "RUSTFS_REGION=${region}"
          "RUSTFS_VOLUMES=/var/lib/rustfs"
          # New buckets are `relaxed` otherwise.
          "RUSTFS_DURABILITY_MODE=strict"
          "RUSTFS_NEW_BUCKET_DURABILITY_MODE=strict"
        ];
      };
      provision = {
        program = programs.cim-minio-provision;
        environment = ["CIM_S3_POLICY=${configurations.policy}"];
      };
    };

    garage = {
      title = "Garage";
      directory = "garage";
      # GARAGE_RPC_SECRET, which even one machine needs, and GARAGE_ADMIN_TOKEN.
      environmentFile = secret "garage.env";
      serviceConfig = {
        Type = "exec";
        ExecStart = "${programs.garage} --config ${configurations.garage} server";
      };
      provision = {
        program = programs.cim-garage-provision;
        environment = ["CIM_GARAGE_ADMIN_PORT=${besides}"];
      };
      settings = {
        metadata_dir = "/var/lib/garage/meta";
        data_dir = "/var/lib/garage/data";
        # LMDB, the default, may be damaged by a power cut.
        db_engine = "sqlite";
        metadata_fsync = true;
        data_fsync = true;
        metadata_auto_snapshot_interval = "6h";
        replication_factor = 1;
        rpc_bind_addr = "127.0.0.1:3901";
        rpc_public_addr = "127.0.0.1:3901";
        s3_api = {
          api_bind_addr = "0.0.0.0:${toString port}";
          s3_region = region;
        };
        admin.api_bind_addr = "127.0.0.1:${besides}";
      };
    };

    # Master, volume server and filer are for this machine alone, S3 for those that the packet filter lets in.
    seaweedfs = {
      title = "SeaweedFS";
      directory = "seaweedfs";
      environmentFile = secret "seaweedfs.env";
      serviceConfig = {
        Type = "exec";
        ExecStart = p.concatStringsSep " " [
          "${programs.weed} -logtostderr=true server -dir=/var/lib/seaweedfs -ip=127.0.0.1 -ip.bind=127.0.0.1"
          "-filer -s3 -s3.ip.bind=0.0.0.0 -s3.port=${toString port} -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false"
          # A bucket that was mistyped is an error, not a new bucket.
          "-s3.autoCreateBucket=false -master.telemetry=false"
          # As many volumes as there is room for.
          "-master.volumeSizeLimitMB=1024 -volume.max=0 -volume.preStopSeconds=1"
        ];
        Environment = [
          "HOME=/var/lib/seaweedfs"
          # By seven at once, as it does otherwise, what is no bucket's takes all volumes of a disk of 8 GB, and the
          # bucket takes no object.
          "WEED_MASTER_VOLUME_GROWTH_COPY_1=1"
        ];
      };
      provision = {
        program = programs.cim-seaweedfs-provision;
        environment = ["CIM_WEED=${programs.weed}"];
      };
    };

    versitygw = {
      title = "Versity S3 Gateway";
      # Below the first directory, which is the user's home.
      directory = "versitygw versitygw/data versitygw/iam";
      environmentFile = secret "versitygw.env";
      serviceConfig = {
        Type = "exec";
        # It has no switch for syncing: every write below has to be on the disk when it returns.
        ExecStartPre = "${programs.cim-synced-directory} /var/lib/versitygw/data";
        ExecStart = p.concatStringsSep " " [
          "${programs.versitygw} --quiet --port 0.0.0.0:${toString port} --admin-port 127.0.0.1:${besides}"
          "--region ${region} --iam-dir /var/lib/versitygw/iam posix /var/lib/versitygw/data"
        ];
      };
      provision = {
        program = programs.cim-versitygw-provision;
        environment = ["CIM_VERSITYGW_ADMIN_PORT=${besides}"];
      };
    };
  };

  name = host.s3.provider or null;
  provider = providers.${name};

  server = unit {
    description = "${provider.title}, the S3 service of the NAS";
    after = ["network-online.target"];
    wants = ["network-online.target"];
    serviceConfig =
      daemon name provider.directory ({
          EnvironmentFile = provider.environmentFile;
          TimeoutStartSec = "120s";
          TimeoutStopSec = "60s";
        }
        // provider.serviceConfig)
      // hardening.peers reach.peers.s3;
  };

  provision = unit {
    description = "Buckets of the archive, and the key of the storage manager";
    after = ["${name}.service"];
    # Not `requires`: a service that fails once and recovers by itself would end this unit for good.
    wants = ["${name}.service"];
    serviceConfig =
      {
        Type = "oneshot";
        RemainAfterExit = true;
        DynamicUser = true;
        ExecStart = provider.provision.program;
        Environment =
          [
            "CIM_S3_PORT=${toString port}"
            "CIM_S3_REGION=${region}"
            "\"CIM_S3_BUCKETS=${p.concatStringsSep " " buckets}\""
          ]
          ++ provider.provision.environment;
        EnvironmentFile = provider.environmentFile;
        LoadCredential = ["nas.env:${secret "nas.env"}"];
        TimeoutStartSec = "300s";
        Restart = "on-failure";
        RestartSec = "5s";
      }
      // hardening.peers [];
  };

  here = providers ? ${toString name};
in {
  inherit besides;
  units =
    p.optionalAttrs here {${name} = server;}
    # No buckets are made if no tier lies on this machine.
    // p.optionalAttrs (here && buckets != []) {"${name}-provision" = provision;};
  # The service's configuration file, if it has one.
  settings =
    if here
    then provider.settings or null
    else null;
}
