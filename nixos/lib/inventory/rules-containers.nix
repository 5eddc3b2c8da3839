# Components and plugins in containers: addresses, bridge, names.
inventory: let
  p = import ../prelude.nix;
  ipv4 = import ../ipv4.nix;
  inherit (p) optional optionals concatMap attrNames filter;
  inherit (inventory) hosts networks;

  ofHost = name: let
    host = hosts.${name};
    at = "hosts.${name}";
    net = host.containers;
    kind = key:
      map (n: {
        inherit key;
        name = n;
        inherit (host.${key}.${n}) address;
      }) (attrNames host.${key});
    inside = filter (c: c.address != null) (kind "components" ++ kind "plugins");
    path = c: "`${at}.${c.key}.${c.name}.address`";
    both = filter (n: host.components ? ${n}) (attrNames host.plugins);
    addresses = map (c: c.address) inside;
  in
    map (n: "`${at}.plugins.${n}` has the name of a component: give it another") both
    ++ optionals (inside != [] && net == null)
    ["`${at}.containers` is missing, but needed for ${p.concatStringsSep ", " (map path inside)}: give its `cidr` and `hostAddress`"]
    ++ optionals (net != null) (
      optional (!(ipv4.usable net.cidr net.hostAddress)) "`${at}.containers.hostAddress` is `${net.hostAddress}`, which no machine in `${net.cidr}` can have: give one from that network"
      ++ concatMap (n: optional (ipv4.overlap net.cidr networks.${n}.cidr) "`${at}.containers.cidr` (`${net.cidr}`) overlaps with `networks.${n}` (`${networks.${n}.cidr}`): give the containers a network of their own") (attrNames networks)
      ++ concatMap (c: optional (!(ipv4.usable net.cidr c.address)) "${path c} is `${c.address}`, which no container in `${net.cidr}` can have: give one from that network") inside
      ++ map (address: "address `${address}` is given to ${p.concatStringsSep " and " (map path (filter (c: c.address == address) inside))}: give each container its own") (p.duplicates addresses)
      ++ concatMap (c: optional (c.address == net.hostAddress) "${path c} is the host's own address on the bridge: give the container another") inside
    );
in
  concatMap ofHost (attrNames hosts)
