# For ci/nix: the packet filter of the sample's host with containers, as it is on NixOS.
((import ../.).render {
  inventory = import ./sample.nix;
  host = "host";
  platform = "nixos";
})
.firewall
.nftables
