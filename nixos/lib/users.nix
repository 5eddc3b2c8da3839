# The NATS users of a host, and their places in the inventory.
host: let
  p = import ./prelude.nix;
  of = key:
    p.mapAttrsToList (name: user: {
      inherit name;
      kind = key;
      path = "${key}.${name}.nkey";
      inherit (user) nkey;
    });
  nats =
    if host.nats == null
    then {}
    else host.nats;
  leaf = p.get "leafNodes" nats;
  listen = p.get "listen" (
    if leaf == null
    then {}
    else leaf
  );
in
  of "components" host.components
  ++ of "plugins" host.plugins
  ++ of "operators" host.operators
  ++ p.optionals (listen != null) (map (user:
    user
    // {
      kind = "leaf";
      path = "nats.leafNodes.listen.${user.path}";
    }) (of "users" listen.users))
  ++ p.optional (p.get "monitorKey" nats != null) {
    name = "monitor";
    kind = "monitor";
    path = "nats.monitorKey";
    nkey = nats.monitorKey;
  }
