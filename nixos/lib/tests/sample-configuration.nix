# For ci/nix: the sample's nats-server.conf, with TLS and leaf nodes.
((import ../.).render {
  inventory = import ./sample.nix;
  host = "host";
})
.files
."/etc/nats-server.conf"
