# Hosts, their networks and their roles.
inventory: let
  p = import ../prelude.nix;
  ipv4 = import ../ipv4.nix;
  inherit (p) optional optionals concatMap attrNames;
  inherit (inventory) hosts networks lab;
  names = attrNames hosts;
  known = set: "known are ${p.concatStringsSep ", " (map (name: "`${name}`") (attrNames set))}";

  place = name: let
    host = hosts.${name};
    at = "`hosts.${name}";
    net = networks.${host.network}.cidr;
  in
    if !(networks ? ${host.network})
    then ["${at}.network` is `${host.network}`, which is not there: add it to `networks`, or use another (${known networks})"]
    else optional (!(ipv4.usable net host.address)) "${at}.address` is `${host.address}`, which no machine in `networks.${host.network}` (`${net}`) can have: give one from that network";

  # The keys that a role needs, and those that only some roles may have.
  belongs = key: roles: name: let
    host = hosts.${name};
    given = !(p.elem host.${key} [null {}]);
  in
    optional (given && !(p.elem host.role roles))
    "`hosts.${name}.${key}` is given for a machine of role `${host.role}`: remove it, or change the role to `${p.head roles}`";

  role = name: let
    host = hosts.${name};
    needs = key: why: optional (host.${key} == null) "`hosts.${name}.${key}` is missing: ${why}";
  in
    {
      host = needs "nats" "a machine of role `host` runs NATS, so give its `maxFileStore` and `maxMemoryStore`";
      nas =
        needs "s3" "a machine of role `nas` serves S3, so give its `provider`"
        ++ optional ((host.s3.provider or null) == "fake-wasabi") "`hosts.${name}.s3.provider` is `fake-wasabi`, which keeps nothing safe: use `minio`, or give the machine the role `fake-wasabi` in a lab";
      fake-wasabi =
        needs "s3" "a machine of role `fake-wasabi` serves S3, so give its `provider`"
        ++ optional (!lab) "`hosts.${name}.role` is `fake-wasabi`, which is for tests alone: set `lab` to true, or remove the machine and give `tiers.tertiary.endpoint`"
        ++ optional (!(p.elem (host.s3.provider or null) [null "fake-wasabi"])) "`hosts.${name}.s3.provider` is `${host.s3.provider}` on a machine of role `fake-wasabi`: use `fake-wasabi`";
      operator = [];
    }
    .${host.role};

  ssh = name: let
    inherit (hosts.${name}) ssh;
  in
    optionals (ssh != null) (
      optional (ssh.keys == []) "`hosts.${name}.ssh.keys` is empty, so no login is possible; add a public key, or remove `ssh`"
      ++ optional (ssh.from == []) "`hosts.${name}.ssh.from` is empty: SSH could be reached from nowhere; add a network, or remove `ssh`"
    );

  twice = map (address: "address `${address}` is given to ${p.concatStringsSep " and " (map (n: "`${n}`") (p.filter (n: hosts.${n}.address == address) names))}: give each machine its own") (p.duplicates (map (name: hosts.${name}.address) names));

  networkPairs = concatMap (pair: let
    a = p.head pair;
    b = builtins.elemAt pair 1;
  in
    optional (ipv4.overlap networks.${a}.cidr networks.${b}.cidr) "networks `${a}` (`${networks.${a}.cidr}`) and `${b}` (`${networks.${b}.cidr}`) overlap: give each its own addresses")
  (p.pairs (attrNames networks));

  version = name: let
    provider = hosts.${name}.s3.provider or null;
  in
    optional (inventory.version < 2 && p.elem provider ["seaweedfs" "versitygw"])
    "`hosts.${name}.s3.provider` is `${provider}`, which version `${toString inventory.version}` of the inventory does not have: set `version` to 2";

  from = name:
    concatMap (network:
      optional (!(networks ? ${network})) "`hosts.${name}.s3.from` names network `${network}`, which is not there: add it to `networks`, or remove it")
    (hosts.${name}.s3.from or []);
in
  networkPairs
  ++ twice
  ++ concatMap (name:
    place name
    ++ role name
    ++ ssh name
    ++ version name
    ++ from name
    ++ belongs "nats" ["host"] name
    ++ belongs "components" ["host"] name
    ++ belongs "plugins" ["host"] name
    ++ belongs "operators" ["host"] name
    ++ belongs "containers" ["host"] name
    ++ belongs "s3" ["nas" "fake-wasabi"] name)
  names
