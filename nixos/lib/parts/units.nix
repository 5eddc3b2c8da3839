# The services of a machine, as systemd runs them: on Debian from the files that are rendered, on NixOS
# from the same sets.
#
# A unit has description, after, wants, requires, wantedBy, unitConfig and serviceConfig. A list in the
# last two stands for a directive that is repeated, except for the filters, which are joined by spaces.
{
  inventory,
  host,
  reach,
  programs,
  nats,
  storageManager,
  configurations,
  buckets,
  containers,
}: let
  p = import ../prelude.nix;
  inherit (p) optional optionalAttrs mapAttrsToList;
  hardening = import ./hardening.nix;

  load = credentials:
    optionalAttrs (credentials != {}) {LoadCredential = mapAttrsToList (name: path: "${name}:${path}") credentials;};

  unit = given:
    {
      after = [];
      wants = [];
      requires = [];
      wantedBy = ["multi-user.target"];
    }
    // given
    // {
      # It is tried again for ever: what it needs may come back at any time.
      unitConfig = {StartLimitIntervalSec = 0;} // given.unitConfig or {};
      serviceConfig = hardening.service // given.serviceConfig;
    };

  # A service that runs until it is stopped, as a user of its own, in a directory of its own.
  daemon = user: directory: config:
    {
      User = user;
      Group = user;
      StateDirectory = directory;
      StateDirectoryMode = "0700";
      Restart = "always";
      RestartSec = "1s";
      LimitNOFILE = 65536;
    }
    // config;

  manager = host.components.storage-manager;

  # For what only this machine may talk to, beside the port of S3.
  besides = toString (
    if host.s3.port == 9001
    then 9002
    else 9001
  );
in
  optionalAttrs (host.nats != null) {
    nats = unit {
      description = "NATS server with JetStream";
      after = ["network.target"];
      serviceConfig =
        daemon "nats" "nats" {
          Type = "exec";
          ExecStart = "${programs.nats-server} --config ${configurations.nats}";
          ExecReload = "${programs.nats-server} --signal reload=$MAINPID";
          # At SIGTERM it writes what it has and ends at once. In lame duck mode it would first wait for
          # clients to go elsewhere, and there is no other server.
          KillSignal = "SIGTERM";
          TimeoutStopSec = "60s";
        }
        // load nats.credentials
        // optionalAttrs (nats.environment != []) {EnvironmentFile = nats.environment;}
        // hardening.peers reach.peers.nats;
    };
  }
  // optionalAttrs (host.components ? storage-manager) {
    cim-storage-manager = unit {
      description = "CIM storage manager";
      after = ["network-online.target"] ++ optional (!containers) "nats.service";
      wants = ["network-online.target"] ++ optional (!containers) "nats.service";
      # In a lab the harness starts it, after it has restored.
      wantedBy = optional (!inventory.lab) "multi-user.target";
      serviceConfig =
        daemon "cim-storage-manager" "cim-storage-manager" {
          Type = "notify";
          NotifyAccess = "main";
          ExecStart = "${programs.cim-storage-manager} tier --config ${configurations.storageManager}";
          Restart = "always";
          RestartSec = "2s";
          # It flushes for up to 20 s.
          TimeoutStopSec = "30s";
          TimeoutStartSec = "120s";
          MemoryMax = manager.memory;
        }
        // load storageManager.credentials
        // hardening.peers reach.peers.storageManager;
    };
  }
  // optionalAttrs ((host.s3.provider or null) == "minio") {
    minio = unit {
      description = "MinIO, the S3 service of the NAS";
      after = ["network-online.target"];
      wants = ["network-online.target"];
      serviceConfig =
        daemon "minio" "minio minio/data" {
          Type = "notify";
          ExecStart = "${programs.minio} server --address 0.0.0.0:${toString host.s3.port} --console-address 127.0.0.1:${besides} /var/lib/minio/data";
          EnvironmentFile = "/var/lib/cim-secrets/minio-root.env";
          Environment = ["MINIO_REGION=${host.s3.region}" "MINIO_BROWSER=off" "MINIO_UPDATE=off" "HOME=/var/lib/minio"];
          TimeoutStartSec = "120s";
          TimeoutStopSec = "60s";
        }
        // hardening.peers reach.peers.s3;
    };
  }
  # Where no tier lies on this machine there is nothing to make.
  // optionalAttrs ((host.s3.provider or null) == "minio" && buckets != []) {
    minio-provision = unit {
      description = "Buckets of the archive, and the key of the storage manager";
      after = ["minio.service"];
      # Not `requires`: MinIO that fails once and comes back by itself would end this for good.
      wants = ["minio.service"];
      serviceConfig =
        {
          Type = "oneshot";
          RemainAfterExit = true;
          DynamicUser = true;
          ExecStart = programs.cim-minio-provision;
          Environment = [
            "CIM_S3_PORT=${toString host.s3.port}"
            "CIM_S3_REGION=${host.s3.region}"
            "\"CIM_S3_BUCKETS=${p.concatStringsSep " " buckets}\""
            "CIM_S3_POLICY=${configurations.policy}"
          ];
          EnvironmentFile = "/var/lib/cim-secrets/minio-root.env";
          LoadCredential = ["nas.env:/var/lib/cim-secrets/nas.env"];
          TimeoutStartSec = "300s";
          Restart = "on-failure";
          RestartSec = "5s";
        }
        // hardening.peers [];
    };
  }
  // optionalAttrs (host.role == "fake-wasabi") {
    cim-fake-wasabi = unit {
      description = "Fake Wasabi, for tests";
      after = ["network.target"];
      serviceConfig =
        daemon "cim-fake-wasabi" "cim-fake-wasabi" {
          Type = "exec";
          ExecStart = p.concatStringsSep " " ([
              "${programs.cim-fake-wasabi} serve --dir /var/lib/cim-fake-wasabi"
              "--listen 0.0.0.0:${toString host.s3.port} --i-know-this-is-a-fake"
              "--admin-listen 127.0.0.1:${besides} --region ${host.s3.region}"
            ]
            ++ map (bucket: "--create-bucket ${bucket}") buckets);
          EnvironmentFile = "/var/lib/cim-secrets/fake-wasabi.env";
        }
        // hardening.peers reach.peers.s3;
    };
  }
