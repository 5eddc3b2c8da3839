# An inventory with everything in it, for tests: TLS, leaf nodes both ways, a plugin, every component.
# Its keys are valid, and their seeds were thrown away.
let
  key = builtins.elemAt (import ./keys.nix);
in {
  version = 1;
  name = "sample";
  networks = {
    lan.cidr = "192.168.71.0/24";
    office.cidr = "10.9.0.0/16";
  };
  hosts = {
    host = {
      role = "host";
      network = "lan";
      address = "192.168.71.10";
      ssh = {
        keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBrDY2UBW/SbJdylFq4Rzdgf5mNEyZWt40XL2UTitgMP admin"];
        from = ["10.9.0.0/16"];
      };
      nats = {
        maxFileStore = 10000000000;
        maxMemoryStore = 1000000;
        monitorKey = key 0;
        tls = {
          certificate = "/etc/ssl/nats.pem";
          key = "/var/lib/cim-secrets/nats-key.pem";
          ca = "/etc/ssl/ca.pem";
        };
        leafNodes = {
          listen = {
            from = "office";
            users.branch = {
              nkey = key 1;
              publish = ["branch.>"];
              subscribe = ["cim.event.>"];
            };
          };
          remotes.cloud = {
            urls = ["tls://leaf.example.org:7422"];
            export = ["cim.event.>"];
            import = ["cloud.>"];
          };
        };
      };
      operators.ops = {
        nkey = key 2;
        from = "office";
      };
      components = {
        storage-manager = {
          nkey = key 3;
          address = "10.71.0.11";
          settings.seal.interval = "5s";
        };
        information-units = {
          nkey = key 4;
          address = "10.71.0.12";
          asks = ["component-registry"];
        };
        pipeline-engine = {
          nkey = key 5;
          reads = ["information-units"];
        };
        component-registry.nkey = key 6;
      };
      containers = {
        cidr = "10.71.0.0/24";
        hostAddress = "10.71.0.1";
      };
      plugins.weather = {
        nkey = key 7;
        address = "10.71.0.30";
        publish = ["plugin.weather.>"];
      };
    };
    nas = {
      role = "nas";
      network = "lan";
      address = "192.168.71.20";
      s3.provider = "minio";
    };
  };
  tiers = {
    secondary = {
      host = "nas";
      bucket = "cim-archive";
    };
    tertiary = {
      endpoint = "https://s3.eu-central-1.wasabisys.com";
      region = "eu-central-1";
      bucket = "sample-cim-archive";
    };
  };
  streams.EVENTS = {
    subjects = ["cim.event.>"];
    maxBytes = 1000000000;
    maxAge = "48h";
  };
  buckets = {
    graph = {
      users = ["component-registry"];
      history = 5;
    };
    files.kind = "object";
  };
}
