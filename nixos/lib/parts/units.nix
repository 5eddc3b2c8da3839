# The services of a machine, as systemd runs them: on Debian from the files that are rendered, on NixOS
# from the same sets.
{
  inventory,
  host,
  reach,
  programs,
  nats,
  storageManager,
  configurations,
  buckets,
  s3,
  containers,
}: let
  p = import ../prelude.nix;
  inherit (p) optional optionalAttrs;
  hardening = import ./hardening.nix;
  inherit (import ./service.nix) unit daemon load;

  manager = host.components.storage-manager;
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
          # At SIGTERM it writes its data and ends at once. In lame duck mode it would first wait for clients to
          # move to another server, and there is none.
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
  // s3.units
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
              "--admin-listen 127.0.0.1:${s3.besides} --region ${host.s3.region}"
            ]
            ++ map (bucket: "--create-bucket ${bucket}") buckets);
          EnvironmentFile = "/var/lib/cim-secrets/fake-wasabi.env";
        }
        // hardening.peers reach.peers.s3;
    };
  }
