# Refusals and their texts. Each test changes one value of the sample.
let
  core = import ../.;
  sample = import ./sample.nix;
  keys = import ./keys.nix;
  labKey = builtins.head (import ../lab-keys.nix);

  # Lays `over` over `base`, set by set; a function gets the value of `base`.
  change = base: over:
    if builtins.isFunction over
    then over base
    else if builtins.isAttrs over && builtins.isAttrs base
    then base // builtins.mapAttrs (name: change (base.${name} or null)) over
    else over;
  errors = over: core.check (change sample over);
  host = over: errors {hosts.host = over;};
  nas = over: errors {hosts.nas = over;};
  encrypted = over: errors ({version = 3;} // {tiers = {encryption = {};} // over.tiers or {};});
  kept = entry:
    errors {
      version = 4;
      tiers.retention = _: [entry];
    };
  one = expr: text: {
    inherit expr;
    expected = [text];
  };
  without = name: set: removeAttrs set [name];
  # As cim-core refuses them.
  noBuckets = ["CIM_archive" "10.0.0.1" "a..b" "a.-b" "ab" "-ab" (builtins.concatStringsSep "" (builtins.genList (_: "a") 64))];
in {
  "the sample, the example and the lab are in order" = {
    expr = map core.check [sample ../../../fixtures/inventory/example.json ../../../fixtures/inventory/lab.json];
    expected = [[] [] []];
  };
  "defaults are filled in" = {
    expr = let
      host = (core.read sample).hosts.host;
    in [host.system host.nats.port host.nats.syncInterval host.components.component-registry.memory host.nats.leafNodes.listen.port (core.read sample).lab];
    expected = ["x86_64-linux" 4222 "always" "512M" 7422 false];
  };

  # Form.
  "a key that is not known" = one (host {prot = 1;}) "`hosts.host.prot` is not a known key: remove it, or use one of `address`, `components`, `containers`, `nats`, `network`, `operators`, `plugins`, `role`, `s3`, `ssh`, `system`";
  "a key that is missing" = one (nas (without "address")) "`hosts.nas.address` is missing: give an IPv4 address";
  "a value of another type" = one (host {nats.port = "4222";}) "`hosts.host.nats.port` is `4222`: give a whole number from 1 to 65535";
  "another version" = one (errors {version = 5;}) "`version` is `5`: give the number 4, 3, 2 or 1: this toolkit reads no other version";
  "a component that is none" = one (host {components.storage = {nkey = builtins.elemAt keys 8;};}) "`hosts.host.components.storage`: `storage` is not one of `component-registry`, `information-units`, `integration-hub`, `pipeline-engine`, `plugin-system`, `storage-manager`, `ui-framework`: rename it";
  "a mistyped nkey" = one (host {operators.ops.nkey = "U${builtins.substring 2 55 (builtins.head keys)}A";}) "`hosts.host.operators.ops.nkey` is `U${builtins.substring 2 55 (builtins.head keys)}A`: give the public key of a NATS user (`U…`, 56 characters, from `nk -gen user -pubout`)";
  "all errors come at once" = {
    expr = builtins.length (errors {
      name = 1;
      networks.lan.cidr = "x";
      hosts.nas.role = "nase";
    });
    expected = 3;
  };

  # Hosts.
  "a network that is not there" = one (nas {network = "wan";}) "`hosts.nas.network` is `wan`, which is not there: add it to `networks`, or use another (known are `lan`, `office`)";
  "an address outside of its network" = one (nas {address = "192.168.72.20";}) "`hosts.nas.address` is `192.168.72.20`, which no machine in `networks.lan` (`192.168.71.0/24`) can have: give one from that network";
  "an address given twice" = one (nas {address = "192.168.71.10";}) "address `192.168.71.10` is given to `host` and `nas`: give each machine its own";
  "networks that overlap" = one (errors {networks.more.cidr = "10.9.7.0/24";}) "networks `more` (`10.9.7.0/24`) and `office` (`10.9.0.0/16`) overlap: give each its own addresses";
  "NATS on the NAS" = one (nas {
    nats = {
      maxFileStore = 10000000000;
      maxMemoryStore = 1;
    };
  }) "`hosts.nas.nats` is given for a machine of role `nas`: remove it, or change the role to `host`";
  "a NAS without S3" = one (nas (without "s3")) "`hosts.nas.s3` is missing: a machine of role `nas` serves S3, so give its `provider`";
  "a NAS that is a fake" = one (nas {s3.provider = "fake-wasabi";}) "`hosts.nas.s3.provider` is `fake-wasabi`, which keeps nothing safe: use `minio`, or give the machine the role `fake-wasabi` in a lab";
  "a provider that version 1 does not have" = one (nas {s3.provider = "versitygw";}) "`hosts.nas.s3.provider` is `versitygw`, which version `1` of the inventory does not have: set `version` to 2";
  "a provider that ignores conditions under the archive" = one (nas {s3.provider = "garage";}) "`tiers.secondary.host` is `nas`, whose `s3.provider` is `garage`: it ignores the conditions of writes, so two writers could overwrite each other; use another provider, or that machine as `tiers.tertiary`";
  "fake Wasabi outside of a lab" = one (errors {
    hosts.fake = {
      role = "fake-wasabi";
      network = "lan";
      address = "192.168.71.30";
      s3.provider = "fake-wasabi";
    };
  }) "`hosts.fake.role` is `fake-wasabi`, which is for tests alone: set `lab` to true, or remove the machine and give `tiers.tertiary.endpoint`";
  "SSH without keys" = one (host {ssh.keys = [];}) "`hosts.host.ssh.keys` is empty, so no login is possible; add a public key, or remove `ssh`";

  # NATS.
  "an nkey given twice" = one (host {components.component-registry.nkey = builtins.elemAt keys 4;}) "nkey `${builtins.elemAt keys 4}` belongs to `hosts.host.components.component-registry.nkey` and `hosts.host.components.information-units.nkey`: make a key for each (`nk -gen user`), so that each has its own permissions";
  "a lab's key outside of a lab" = one (host {operators.ops.nkey = labKey;}) "`hosts.host.operators.ops.nkey` has the nkey `${labKey}`, whose seed is public: make one of your own with `nk -gen user`";
  "a lab's key in a lab" = {
    expr = errors {
      lab = true;
      hosts.host.operators.ops.nkey = labKey;
    };
    expected = [];
  };
  "a sync interval that loses acked messages" = one (host {nats.syncInterval = "2m";}) "`hosts.host.nats.syncInterval` is `2m`: a power cut would lose what was acked within that time; use `always`";
  "a port given twice" = one (host {nats.leafNodes.listen.port = 4222;}) "`hosts.host.nats` listens twice on port `4222`: give `leafNodes.listen.port` another";
  "an operator from nowhere" = one (host {operators.ops.from = "moon";}) "`hosts.host.operators.ops.from` is `moon`, which is not there: add it to `networks`";
  "a leaf connection in the clear" = one (host {nats.leafNodes.remotes.cloud.urls = ["nats://leaf.example.org:7422"];}) "`hosts.host.nats.leafNodes.remotes.cloud.urls` has `nats://leaf.example.org:7422`, which is not encrypted: use `tls://`";
  "a leaf connection through which nothing comes" = one (host {
    nats.leafNodes.remotes.cloud = {
      export = [];
      import = [];
    };
  }) "`hosts.host.nats.leafNodes.remotes.cloud` lets nothing cross: give subjects in `export` or `import`, or remove it";

  # Containers.
  "containers without a network" = one (host (without "containers")) "`hosts.host.containers` is missing, but needed for `hosts.host.components.information-units.address`, `hosts.host.components.storage-manager.address`, `hosts.host.plugins.weather.address`: give its `cidr` and `hostAddress`";
  "a container with the host's address" = one (host {plugins.weather.address = "10.71.0.1";}) "`hosts.host.plugins.weather.address` is the host's own address on the bridge: give the container another";
  "containers in a network that is taken" = {
    expr = builtins.head (host {
      containers = {
        cidr = "10.9.1.0/24";
        hostAddress = "10.9.1.1";
      };
    });
    expected = "`hosts.host.containers.cidr` (`10.9.1.0/24`) overlaps with `networks.office` (`10.9.0.0/16`): give the containers a network of their own";
  };
  "a plugin with a component's name" = one (host {
    plugins.ui-framework.nkey = builtins.elemAt keys 8;
    components.ui-framework.nkey = builtins.elemAt keys 9;
  }) "`hosts.host.plugins.ui-framework` has the name of a component: give it another";

  # Tiers.
  "a tier that is nowhere" = one (errors {tiers.secondary.host = "nass";}) "`tiers.secondary.host` is `nass`, which is not there: add it to `hosts`, or use another";
  "a tier on a machine without S3" = one (errors {tiers.secondary.host = "host";}) "`tiers.secondary.host` is `host` of role `host`: use a machine of role `nas`";
  "a bucket's name that S3 refuses" = {
    expr = map (bucket: errors {tiers.secondary.bucket = bucket;}) noBuckets;
    expected = map (bucket: ["`tiers.secondary.bucket` is `${bucket}`: give an S3 bucket name: 3 to 63 lowercase letters, digits, `-` and `.`, and not an IPv4 address; each part between dots begins and ends with a letter or digit"]) noBuckets;
  };
  "a bucket's name that S3 takes" = {
    expr = map (bucket: errors {tiers.secondary.bucket = bucket;}) ["abc" "1.2.3.4.5" "my.cim-archive.0"];
    expected = [[] [] []];
  };
  "a tier in two places" = one (errors {
    tiers.secondary = {
      endpoint = "https://s3.example.org";
      region = "us-east-1";
    };
  }) "`tiers.secondary` needs either `host` or `endpoint`: give exactly one of them";
  "a tier in the clear" = one (errors {tiers.tertiary.endpoint = "http://s3.example.org";}) "`tiers.tertiary.endpoint` is `http://s3.example.org`, which is not encrypted: use `https://`";
  "both tiers on one machine" = one (errors {
    tiers.tertiary = _: {
      host = "nas";
      bucket = "copy";
    };
  }) "`tiers.secondary` and `tiers.tertiary` are the same machine, `nas`: losing it would lose both; use another";
  "encryption that version 2 does not have" = one (errors {
    version = 2;
    tiers.encryption.key = "2027";
  }) "`tiers.encryption` is given, which version `2` of the inventory does not have: set `version` to 3";
  "encryption without a key" = one (encrypted {}) "`tiers.encryption.key` is missing: give the name of the key that writes, or set `tiers.encryption.tiers` to `none`";
  "encryption of no tier that is there" = one (encrypted {
    tiers.tertiary = _: null;
    tiers.encryption = {
      tiers = "wasabi";
      key = "2027";
    };
  }) "`tiers.encryption.tiers` is `wasabi` without `tiers.tertiary`: nothing would be encrypted; use `both`, or give that tier";
  "a key that is a path" = one (encrypted {tiers.encryption.key = "/etc/key";}) "`tiers.encryption.key` is `/etc/key`: give a name of lowercase letters, digits and `-`, or null";
  "retention that version 3 does not have" = one (errors {
    version = 3;
    tiers.retention = _: [
      {
        streams = ["LOGS_*"];
        maxAge = "9600h";
      }
    ];
  }) "`tiers.retention` is given, which version `3` of the inventory does not have: set `version` to 4";
  "retention without a limit" = one (kept {streams = ["*"];}) "`tiers.retention[0]` has no limit and would keep everything: give `maxAge`, `maxMessages`, `maxBytes`, `dropped` or `leftTimelines`, or remove it";
  "retention of a stream in two days" = one (kept {
    streams = ["*"];
    maxAge = "2d";
  }) "`tiers.retention[0].maxAge` is `2d`: give a duration such as `90s`, `2m`, `1h`, or null";
  "a storage manager without a tier" = one (errors {tiers = _: {};}) "`tiers.secondary` is missing, but a storage manager runs on `host`: give the NAS's `host` and `bucket`";

  # Streams.
  "streams that overlap" = one (errors {streams.UNITS.subjects = ["cim.*.iu.>"];}) "`cim.event.>` of stream `EVENTS` and `cim.*.iu.>` of stream `UNITS` overlap, which JetStream refuses: give each message one stream";
  "a stream that is a bucket" = one (errors {streams.KV_x.subjects = ["x"];}) "`streams.KV_x` has the name of a bucket's stream: declare it in `buckets`, or rename it";
  "a stream of the server's own subjects" = one (errors {streams.X.subjects = ["$KV.graph.>"];}) "`$KV.graph.>` of stream `X` is the server's own: use a subject of yours, or declare a bucket";
  "streams larger than the disk" = one (errors {streams.EVENTS.maxBytes = 20000000000;}) "the `maxBytes` of all streams and buckets on disk add up to 20000000000, above `hosts.host.nats.maxFileStore` (10000000000): lower one or raise the other";
}
