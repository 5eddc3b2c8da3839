# IPv4 addresses and networks, as numbers. Null stands for an invalid one.
let
  p = import ./prelude.nix;
  inherit (p) match map foldl' elem;

  octet = text:
    if match "0|[1-9][0-9]{0,2}" text == null
    then null
    else let
      n = builtins.fromJSON text;
    in
      if n > 255
      then null
      else n;

  power = n:
    if n == 0
    then 1
    else 2 * power (n - 1);
in rec {
  # "10.0.0.1" as a number.
  parse = text: let
    parts = map octet (p.splitOn "." text);
  in
    if builtins.length parts != 4 || elem null parts
    then null
    else foldl' (n: part: n * 256 + part) 0 parts;

  # "10.0.0.0/24" as its first and last address and its prefix length. Refuses bits behind the prefix.
  parseCidr = text: let
    parts = match "([0-9.]+)/([0-9]|[12][0-9]|3[0-2])" text;
    first = parse (builtins.elemAt parts 0);
    prefix = builtins.fromJSON (builtins.elemAt parts 1);
    size = power (32 - prefix);
  in
    if parts == null || first == null || builtins.bitAnd first (size - 1) != 0
    then null
    else {
      inherit first prefix;
      last = first + size - 1;
    };

  # True if an address lies in a network; both as text, both valid.
  within = cidr: address: let
    net = parseCidr cidr;
    n = parse address;
  in
    n >= net.first && n <= net.last;

  # True if a machine can have the address: neither the network's own nor its broadcast address.
  usable = cidr: address: let
    net = parseCidr cidr;
    n = parse address;
  in
    within cidr address && (net.prefix >= 31 || (n != net.first && n != net.last));

  overlap = a: b: let
    x = parseCidr a;
    y = parseCidr b;
  in
    x.first <= y.last && y.first <= x.last;

  prefixLength = cidr: (parseCidr cidr).prefix;
}
