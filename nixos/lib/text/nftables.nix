# The packet filter as an nftables ruleset: packets that no rule allows are dropped.
{
  reach,
  containers,
}: let
  p = import ../prelude.nix;
  inherit (p) optionals;

  indent = map (line: "    ${line}");
  chain = name: rules: ["  chain ${name} {"] ++ indent rules ++ ["  }"];
  table = family: name: chains: ["table ${family} ${name} {"] ++ chains ++ ["}"];

  input = rule: "ip saddr ${rule.from} tcp dport ${toString rule.port} accept comment \"${rule.description}\"";
  forward = rule: let
    to =
      if rule.to != null
      then "ip daddr ${rule.to} "
      else if rule.except != []
      then "ip daddr != { ${p.concatStringsSep ", " rule.except} } "
      else "";
  in "iifname \"${containers.bridge}\" ip saddr ${rule.from} ${to}${rule.protocol} dport ${toString rule.port} accept comment \"${rule.description}\"";
  isolated = containers != null;
in
  p.lines (
    table "inet" "cim" (
      chain "input" ([
          "type filter hook input priority filter; policy drop;"
          "iif \"lo\" accept"
          "ct state vmap { established : accept, related : accept, invalid : drop }"
          "meta l4proto { icmp, icmpv6 } accept"
        ]
        ++ map input reach.input)
      ++ chain "forward" ([
          "type filter hook forward priority filter; policy drop;"
          "ct state vmap { established : accept, related : accept, invalid : drop }"
        ]
        ++ map forward reach.forward)
      ++ optionals (reach.forward != []) (chain "postrouting" [
        "type nat hook postrouting priority srcnat; policy accept;"
        "ip saddr ${containers.cidr} oifname != \"${containers.bridge}\" masquerade"
      ])
    )
    # Containers talk to the host, never to one another: frames between ports of the bridge are dropped.
    ++ optionals isolated (table "bridge" "cim-containers" (chain "forward" [
      "type filter hook forward priority filter; policy accept;"
      "meta ibrname \"${containers.bridge}\" drop"
    ]))
  )
  + "\n"
