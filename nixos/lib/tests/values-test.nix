# Addresses, subjects, keys: the forms of all other values.
let
  ipv4 = import ../ipv4.nix;
  subjects = import ../subjects.nix;
  nkeys = import ../nkeys.nix;
  key = builtins.head (import ./keys.nix);
in {
  "addresses are four octets without leading zeros" = {
    expr = map ipv4.parse ["0.0.0.0" "10.0.0.1" "255.255.255.255" "256.0.0.1" "1.2.3" "01.2.3.4" "1.2.3.4.5" "a.b.c.d" ""];
    expected = [0 167772161 4294967295 null null null null null null];
  };
  "a network has no bits behind its prefix" = {
    expr = map (cidr: ipv4.parseCidr cidr != null) ["10.0.0.0/8" "192.168.1.0/24" "192.168.1.7/32" "0.0.0.0/0" "192.168.1.1/24" "10.0.0.0/33" "10.0.0.0" "10.0.0.0/08"];
    expected = [true true true true false false false false];
  };
  "first and last address of a network are no machine's" = {
    expr = map (ipv4.usable "192.168.1.0/24") ["192.168.1.0" "192.168.1.1" "192.168.1.254" "192.168.1.255" "192.168.2.1"];
    expected = [false true true false false];
  };
  "networks overlap when one lies in the other" = {
    expr = [(ipv4.overlap "10.0.0.0/8" "10.71.0.0/24") (ipv4.overlap "10.71.0.0/24" "10.71.1.0/24")];
    expected = [true false];
  };
  "subjects have no empty tokens, and wildcards stand alone" = {
    expr = map subjects.valid ["a" "a.b-c_D9" "a.*" "*.b" "a.>" ">" "$JS.API" "" "a..b" ".a" "a." "a b" "a.>.b" "a*.b" "a.b>"];
    expected = [true true true true true true true false false false false false false false false];
  };
  "filters overlap when one subject matches both" = {
    expr = map (pair: subjects.overlap (builtins.head pair) (builtins.elemAt pair 1)) [
      ["a.b" "a.b"]
      ["a.b" "a.c"]
      ["a.>" "a.b.c"]
      ["a.>" "a"]
      ["a.*" "a.b.c"]
      ["a.*.c" "a.b.*"]
      ["*.x" "y.*"]
      ["*.x.>" "y.z.*"]
      [">" "a"]
    ];
    expected = [true false true false false true true false true];
  };
  "a public nkey carries its own checksum" = {
    expr = map nkeys.isUser [
      key
      # Two letters changed places.
      ("U" + builtins.substring 2 1 key + builtins.substring 1 1 key + builtins.substring 3 53 key)
      ("A" + builtins.substring 1 55 key)
      (builtins.substring 0 55 key)
      ""
      7
    ];
    expected = [true false false false false false];
  };
  "every key of the tests is one" = {
    expr = builtins.all nkeys.isUser (import ./keys.nix ++ import ../lab-keys.nix);
    expected = true;
  };
}
