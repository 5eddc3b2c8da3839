# Results of an inventory: permissions, reach, units, configurations.
let
  core = import ../.;
  sample = import ./sample.nix;
  p = import ../prelude.nix;
  debian = core.render {
    inventory = sample;
    host = "host";
  };
  nixos = core.render {
    inventory = sample;
    host = "host";
    platform = "nixos";
  };
  nas = core.render {
    inventory = sample;
    host = "nas";
  };
  nasOf = import ./nas-of.nix;
  lab = core.render {
    inventory = ../../../fixtures/inventory/lab.json;
    host = "host";
  };
  # A key that is named twice is one.
  encrypted = platform:
    core.render {
      inherit platform;
      host = "host";
      inventory =
        sample
        // {
          version = 3;
          tiers =
            sample.tiers
            // {
              encryption = {
                key = "2027";
                moreKeys = ["2026" "2027" "2026"];
              };
            };
        };
    };
  kept = core.render {
    platform = "debian";
    host = "host";
    inventory =
      sample
      // {
        version = 4;
        tiers =
          sample.tiers
          // {
            retention = [
              {
                streams = ["LOGS_*"];
                tier = "nas";
                maxAge = "9600h";
                maxMessages = 1000000;
                maxBytes = 10737418240;
                dropped = "2160h";
                leftTimelines = "2160h";
              }
              {
                streams = ["*"];
                dropped = "8760h";
              }
            ];
          };
      };
  };
  accounts = debian.nats.settings.accounts;
  user = nkey: builtins.head (p.filter (u: u.nkey == nkey) (accounts.CIM.users ++ accounts.SYS.users));
  may = component: (user sample.hosts.host.components.${component}.nkey).permissions;
  cim = p.filter (p.hasPrefix "cim.");
  consumers = p.filter (p.hasPrefix "$JS.API.CONSUMER.CREATE.");
  subjects = import ../subjects.nix;
  covers = allowed: subject: builtins.any (subjects.overlap subject) allowed;
in {
  # Permissions.
  "a component publishes its own events and asks whom it may ask" = {
    expr = cim (may "information-units").publish.allow;
    expected = ["cim.event.iu.>" "cim.service.registry.>"];
  };
  "a component hears its own services and commands" = {
    expr = cim (may "information-units").subscribe.allow;
    expected = ["cim.service.iu.>" "cim.cmd.iu.>"];
  };
  "a component reads events through consumers of its own name" = {
    expr = consumers (may "pipeline-engine").publish.allow;
    expected = [
      "$JS.API.CONSUMER.CREATE.EVENTS.pipeline-engine.cim.event.pipeline.>"
      "$JS.API.CONSUMER.CREATE.EVENTS.pipeline-engine-cli.cim.event.pipeline.>"
      "$JS.API.CONSUMER.CREATE.EVENTS.pipeline-engine-information-units.cim.event.iu.>"
    ];
  };
  "a component has an inbox that the others may not hear" = {
    expr = map (component: covers (may component).subscribe.allow "_INBOX_iu.x") ["information-units" "pipeline-engine" "component-registry"];
    expected = [true false false];
  };
  "a bucket is its users' alone" = {
    expr = map (component: covers (may component).publish.allow "$KV.graph.x") ["component-registry" "information-units" "storage-manager"];
    expected = [true false false];
  };
  "a component is told the stream of its events and its bucket" = {
    expr = let
      inherit (sample.hosts) host;
      registry = host.components.component-registry // {address = "10.71.0.77";};
      placed = host // {components = host.components // {component-registry = registry;};};
    in
      (core.render {
        inventory = sample // {hosts = sample.hosts // {host = placed;};};
        host = "host";
        platform = "nixos";
      })
      .containers
      .component-registry
      .environment;
    expected = {
      CIM_EVENTS_STREAM = "EVENTS";
      CIM_VIEWS_BUCKET = "graph";
    };
  };
  "the storage manager neither publishes events nor changes streams" = {
    expr = map (covers (may "storage-manager").publish.allow) [
      "$JS.API.STREAM.INFO.EVENTS"
      "$JS.API.STREAM.RESTORE.EVENTS"
      "cim.event.storage.object.stored"
      "$JS.API.STREAM.CREATE.EVENTS"
      "$JS.API.STREAM.UPDATE.EVENTS"
      "$JS.API.STREAM.PURGE.EVENTS"
      "$JS.API.STREAM.MSG.DELETE.EVENTS"
    ];
    expected = [true true false false false false false];
  };
  "only operators are without limits" = {
    expr = map (u: u.nkey) (p.filter (u: !(u ? permissions)) accounts.CIM.users);
    expected = [sample.hosts.host.operators.ops.nkey];
  };
  "the monitor is alone in the system account, and asks without acting" = {
    expr = [
      (map (u: u.nkey) accounts.SYS.users)
      (map (covers (builtins.head accounts.SYS.users).permissions.publish.allow) ["$SYS.REQ.SERVER.PING.VARZ" "$SYS.REQ.SERVER.NX.JSZ" "$SYS.REQ.SERVER.NX.RELOAD" "$SYS.REQ.SERVER.NX.KICK" "cim.event.x"])
    ];
    expected = [[sample.hosts.host.nats.monitorKey] [true true false false false]];
  };

  # NATS.
  "what is acked is on disk" = {
    expr = debian.nats.settings.jetstream;
    expected = {
      store_dir = "/var/lib/nats";
      max_file_store = 10000000000;
      max_memory_store = 1000000;
      sync_interval = "always";
    };
  };
  "the key of TLS is a credential" = {
    expr = [debian.nats.settings.tls debian.nats.credentials];
    expected = [
      {
        cert_file = "/etc/ssl/nats.pem";
        key_file = "/run/credentials/nats.service/tls-key.pem";
        ca_file = "/etc/ssl/ca.pem";
      }
      {
        "tls-key.pem" = "/var/lib/cim-secrets/nats-key.pem";
      }
    ];
  };
  "a leaf connection has an account of its own, and only what is named crosses" = {
    expr = [
      (map (r: r.account) debian.nats.settings.leafnodes.remotes)
      accounts.LEAF-cloud
      accounts.CIM.exports
      accounts.CIM.imports
    ];
    expected = [
      ["LEAF-cloud"]
      {
        imports = [
          {
            stream = {
              account = "CIM";
              subject = "cim.event.>";
            };
          }
        ];
        exports = [
          {
            stream = "cloud.>";
            accounts = ["CIM"];
          }
        ];
      }
      [
        {
          stream = "cim.event.>";
          accounts = ["LEAF-cloud"];
        }
      ]
      [
        {
          stream = {
            account = "LEAF-cloud";
            subject = "cloud.>";
          };
        }
      ]
    ];
  };
  "the seed of a leaf connection comes from the environment" = {
    expr = [
      (map (r: r.nkey) debian.nats.settings.leafnodes.remotes)
      debian.units.nats.serviceConfig.EnvironmentFile
      (p.match ".*\"nkey\": \\$LEAF_CLOUD,?\n.*" debian.nats.text != null)
    ];
    expected = [["$LEAF_CLOUD"] ["/var/lib/cim-secrets/leaf-cloud.env"] true];
  };
  "without clients from elsewhere, NATS listens here alone" = {
    expr =
      (core.render {
        inventory = sample // {hosts = sample.hosts // {host = removeAttrs sample.hosts.host ["operators"] // {nats = removeAttrs sample.hosts.host.nats ["leafNodes"];};};};
        host = "host";
      })
      .nats
      .settings
      .host;
    expected = "127.0.0.1";
  };

  # Reach.
  "ports are open to those who need them" = {
    expr = map (r: "${r.from} ${toString r.port}") (nixos.firewall.input ++ nas.firewall.input);
    expected = ["10.9.0.0/16 22" "10.9.0.0/16 4222" "10.71.0.0/24 4222" "10.9.0.0/16 7422" "192.168.71.10/32 9000"];
  };
  "without containers there is nothing to forward" = {
    expr = debian.firewall.forward;
    expected = [];
  };
  "the storage manager's container reaches its tiers, and no machine at home through Wasabi's rule" = {
    expr = map (r: [r.from r.to r.protocol r.port r.except]) nixos.firewall.forward;
    expected = [
      ["10.71.0.11" "192.168.71.20" "tcp" 9000 []]
      ["10.71.0.11" null "tcp" 443 ["192.168.71.0/24" "10.9.0.0/16"]]
      ["10.71.0.11" null "udp" 53 []]
    ];
  };

  # Storage manager.
  "the storage manager finds NATS over the bridge from its container" = {
    expr = [debian.storageManager.settings.nats.url nixos.storageManager.settings.nats.url];
    expected = ["tls://127.0.0.1:4222" "tls://10.71.0.1:4222"];
  };
  "settings of the inventory are in the configuration" = {
    expr = debian.storageManager.settings.seal;
    expected = {interval = "5s";};
  };
  "the archive's retention is in the configuration" = {
    expr = let
      inherit (kept) storageManager files;
    in [
      storageManager.settings.retention
      (p.match ".*\n\\[\\[retention]].*" files."/etc/cim/storage-manager.toml" != null)
      (debian.storageManager.settings ? retention)
    ];
    expected = [
      [
        {
          streams = ["LOGS_*"];
          tier = "nas";
          max_age = "9600h";
          max_msgs = 1000000;
          max_bytes = "10737418240B";
          dropped = "2160h";
          left_timelines = "2160h";
        }
        {
          streams = ["*"];
          dropped = "8760h";
        }
      ]
      true
      false
    ];
  };
  "an archive is encrypted with keys that are files of root's" = {
    expr = let
      inherit (encrypted "debian") storageManager files units;
    in [
      storageManager.settings.archive.encryption
      (p.filter (p.hasPrefix "archive-") (p.attrNames storageManager.credentials))
      (p.filter (p.hasPrefix "archive-") units.cim-storage-manager.serviceConfig.LoadCredential)
      (p.match ".*\n\\[archive[.]encryption]\nkey_file = .*" files."/etc/cim/storage-manager.toml" != null)
      (p.filter (p.hasPrefix "/var/lib/cim-secrets/archive-") (encrypted "nixos").containers.storage-manager.binds)
      (debian.storageManager.settings ? archive)
    ];
    expected = [
      {
        tiers = "both";
        key_file = "/run/credentials/cim-storage-manager.service/archive-2027.key";
        more_key_files = ["/run/credentials/cim-storage-manager.service/archive-2026.key"];
      }
      ["archive-2026.key" "archive-2027.key"]
      ["archive-2026.key:/var/lib/cim-secrets/archive-2026.key" "archive-2027.key:/var/lib/cim-secrets/archive-2027.key"]
      true
      ["/var/lib/cim-secrets/archive-2026.key" "/var/lib/cim-secrets/archive-2027.key"]
      false
    ];
  };
  "a container gets the secrets of its own unit" = {
    expr = builtins.mapAttrs (_: c: c.binds) nixos.containers;
    expected = {
      storage-manager = ["/var/lib/cim-secrets/nas.env" "/etc/ssl/ca.pem" "/var/lib/cim-secrets/storage-manager.nk" "/var/lib/cim-secrets/wasabi.env"];
      information-units = ["/var/lib/cim-secrets/information-units.nk"];
      weather = ["/var/lib/cim-secrets/weather.nk"];
    };
  };

  # Units.
  "a lab's storage manager waits for the harness" = {
    expr = [lab.units.cim-storage-manager.wantedBy debian.units.cim-storage-manager.wantedBy lab.units.nats.wantedBy];
    expected = [[] ["multi-user.target"] ["multi-user.target"]];
  };
  "every unit is a user of its own, and none is root" = {
    expr = map (u: u.serviceConfig.User or u.serviceConfig.DynamicUser) (builtins.attrValues (debian.units // nas.units));
    expected = ["cim-storage-manager" "minio" true "nats"];
  };
  "what replaces a secret starts the storage manager again, or its container" = {
    expr = map (r: [r.watches.cim-storage-manager-secrets.pathConfig.PathChanged r.watches.cim-storage-manager-secrets.unit.serviceConfig.ExecStart]) [debian nixos];
    expected = let
      files = ["/var/lib/cim-secrets/nas.env" "/etc/ssl/ca.pem" "/var/lib/cim-secrets/storage-manager.nk" "/var/lib/cim-secrets/wasabi.env"];
      restart = unit: "/usr/bin/systemctl --no-block try-restart ${unit}.service";
    in [
      [files (restart "cim-storage-manager")]
      [files (restart "container@storage-manager")]
    ];
  };
  "only the storage manager is watched, and not in a lab" = {
    expr = [nas.watches lab.watches.cim-storage-manager-secrets.wantedBy];
    expected = [{} []];
  };
  "a machine's secrets are those that its units read" = {
    expr = nas.secrets;
    expected = {
      "/var/lib/cim-secrets/minio-root.env" = ["minio.service" "minio-provision.service"];
      "/var/lib/cim-secrets/nas.env" = ["minio-provision.service"];
    };
  };
  "every provider is told to have on the disk what it answers for" = {
    expr = [
      (p.elem "MINIO_FS_OSYNC=on" nas.units.minio.serviceConfig.Environment)
      (p.filter (p.hasSuffix "=strict") (nasOf "rustfs").units.rustfs.serviceConfig.Environment)
      (p.match ".*\ndata_fsync = true\n.*metadata_fsync = true\n.*" (nasOf "garage").files."/etc/garage.toml" != null)
      (p.match ".*\nuntil tell 'fs[.]configure -locationPrefix=/buckets/ -fsync -apply\n.*" (nasOf "seaweedfs").files."/usr/local/sbin/cim-seaweedfs-provision" != null)
      (nasOf "versitygw").units.versitygw.serviceConfig.ExecStartPre
    ];
    expected = [true ["RUSTFS_DURABILITY_MODE=strict" "RUSTFS_NEW_BUCKET_DURABILITY_MODE=strict"] true true "/usr/local/sbin/cim-synced-directory /var/lib/versitygw/data"];
  };
  "SeaweedFS has room for a bucket on a small disk" = {
    expr = p.elem "WEED_MASTER_VOLUME_GROWTH_COPY_1=1" (nasOf "seaweedfs").units.seaweedfs.serviceConfig.Environment;
    expected = true;
  };
  "every provider's buckets and key are made, only by the unit with the right to" = {
    expr = map (provider: (nasOf provider).secrets) ["minio" "rustfs" "garage" "seaweedfs" "versitygw"];
    expected = map (provider: {
      "/var/lib/cim-secrets/${
        if provider == "minio"
        then "minio-root"
        else provider
      }.env" = ["${provider}.service" "${provider}-provision.service"];
      "/var/lib/cim-secrets/nas.env" = ["${provider}-provision.service"];
    }) ["minio" "rustfs" "garage" "seaweedfs" "versitygw"];
  };
  "administration is for this machine alone" = {
    expr = let
      garage = nasOf "garage";
    in [
      (map (r: r.port) garage.firewall.input)
      (p.match ".*\\[admin]\napi_bind_addr = \"127.0.0.1:9001\".*" garage.files."/etc/garage.toml" != null)
      garage.units.garage-provision.serviceConfig.IPAddressAllow
      (map (r: r.port) (nasOf "seaweedfs").firewall.input)
      (p.match ".* -ip=127[.]0[.]0[.]1 -ip[.]bind=127[.]0[.]0[.]1 .*" (nasOf "seaweedfs").units.seaweedfs.serviceConfig.ExecStart != null)
      (p.match ".* --admin-port 127[.]0[.]0[.]1:9001 .*" (nasOf "versitygw").units.versitygw.serviceConfig.ExecStart != null)
    ];
    expected = [[9000] true ["localhost"] [9000] true true];
  };
  "a NAS that no tier is on makes no buckets" = {
    expr =
      builtins.attrNames
      (core.render {
        inventory =
          sample
          // {
            tiers = {};
            hosts = sample.hosts // {host = sample.hosts.host // {components = removeAttrs sample.hosts.host.components ["storage-manager"];};};
          };
        host = "nas";
      })
      .units;
    expected = ["minio"];
  };
  "programs may lie elsewhere" = {
    expr =
      (core.render {
        inventory = sample;
        host = "host";
        programs.nats-server = "/store/nats-server";
      })
      .units
      .nats
      .serviceConfig
      .ExecStart;
    expected = "/store/nats-server --config /etc/nats-server.conf";
  };
  "no file names a seed" = {
    expr = p.filter (text: p.match ".*SU[A-Z2-7]{56}.*" (p.replaceStrings ["\n"] [" "] text) != null) (builtins.attrValues lab.files);
    expected = [];
  };

  # Streams.
  "streams are what JetStream's API takes" = {
    expr = debian.streams.EVENTS;
    expected = {
      name = "EVENTS";
      subjects = ["cim.event.>"];
      storage = "file";
      discard = "old";
      retention = "limits";
      num_replicas = 1;
      duplicate_window = 120000000000;
      max_bytes = 1000000000;
      max_age = 172800000000000;
    };
  };
  "buckets are streams underneath" = {
    expr = [debian.streams.KV_graph.subjects debian.streams.KV_graph.max_msgs_per_subject debian.streams.OBJ_files.subjects];
    expected = [["$KV.graph.>"] 5 ["$O.files.C.>" "$O.files.M.>"]];
  };
}
