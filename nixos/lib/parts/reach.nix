# Reachability: the one source of firewall, listening addresses and IP filters of units.
{
  inventory,
  name,
  host,
  containers,
}: let
  p = import ../prelude.nix;
  inherit (p) optional optionals attrValues unique;
  inherit (inventory) hosts networks tiers;

  rule = description: port: from: {inherit description port from;};
  network = n: networks.${n}.cidr;
  single = address: "${address}/32";

  ssh = optionals (host.ssh != null) (map (rule "SSH" 22) host.ssh.from);

  operators = unique (map (o: network o.from) (attrValues host.operators));
  leaf = (host.nats.leafNodes or {}).listen or null;
  nats = optionals (host.nats != null) (
    map (rule "NATS: operators" host.nats.port) operators
    ++ optional containers (rule "NATS: containers" host.nats.port host.containers.cidr)
    ++ optional (leaf != null) (rule "NATS: leaf nodes" leaf.port (network leaf.from))
  );

  tiersHere = p.filter (t: t != null && t.host == name) [tiers.secondary tiers.tertiary];
  clients = map (h: single h.address) (p.filter (h: h.components ? storage-manager) (attrValues hosts));
  s3 = optionals (host.s3 != null) (map (rule "S3" host.s3.port) (unique (
    optionals (tiersHere != []) clients ++ map network host.s3.from
  )));

  # Where a tier's service is: address (null when only its name is known) and port.
  service = tier: let
    machine = hosts.${tier.host};
    url = p.match "(https?)://([^:/]+)(:([0-9]+))?.*" tier.endpoint;
    part = builtins.elemAt url;
    isAddress = (import ../ipv4.nix).parse (part 1) != null;
  in
    if tier.host != null
    then {
      inherit (machine) address;
      inherit (machine.s3) port;
    }
    else {
      address =
        if isAddress
        then part 1
        else null;
      port =
        if part 3 != null
        then builtins.fromJSON (part 3)
        else if part 0 == "https"
        then 443
        else 80;
    };
  services = map service (p.filter (t: t != null) [tiers.secondary tiers.tertiary]);

  manager = host.components.storage-manager or null;
  remotes = (host.nats.leafNodes or {}).remotes or {};
  natsFrom = unique (map (r: r.from) nats);
in {
  inherit services;

  # Open ports, and the networks that they are open to. Other traffic is dropped.
  input = ssh ++ nats ++ s3;

  # Destinations of containers beyond the host: the storage manager's tiers, none for the others.
  forward = optionals (containers && manager != null && manager.address != null) (
    map (s: {
      description = "storage manager: S3";
      from = manager.address;
      to = s.address;
      # A service that is known by name may have any address outside the installation's networks.
      except = p.optionals (s.address == null) (map (n: n.cidr) (attrValues networks));
      protocol = "tcp";
      inherit (s) port;
    })
    services
    ++ optional (builtins.any (s: s.address == null) services) {
      description = "storage manager: names";
      from = manager.address;
      to = null;
      except = [];
      protocol = "udp";
      port = 53;
    }
  );

  # The address of nats-server: loopback if no client comes from elsewhere.
  listen =
    if natsFrom == []
    then "127.0.0.1"
    else "0.0.0.0";

  # The networks that a unit may talk to; null if they are not known beforehand.
  peers = {
    nats =
      if remotes != {}
      then null
      else natsFrom;
    storageManager =
      if builtins.any (s: s.address == null) services
      then null
      else unique (map (s: single s.address) services ++ optional containers (single host.containers.hostAddress));
    s3 = unique (map (r: r.from) s3);
  };
}
