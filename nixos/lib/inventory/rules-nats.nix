# NATS: users, ports, and the messages that a power cut would cost.
inventory: let
  p = import ../prelude.nix;
  inherit (p) optional optionals concatMap attrNames;
  inherit (inventory) hosts networks lab;
  labKeys = import ../lab-keys.nix;
  users = import ../users.nix;

  everyUser = concatMap (name:
    map (user: user // {path = "hosts.${name}.${user.path}";}) (users hosts.${name}))
  (attrNames hosts);

  shared =
    map (key: "nkey `${key}` belongs to ${p.concatStringsSep " and " (map (u: "`${u.path}`") (p.filter (u: u.nkey == key) everyUser))}: make a key for each (`nk -gen user`), so that each has its own permissions")
    (p.duplicates (map (user: user.nkey) everyUser));

  public = concatMap (user:
    optional (!lab && p.elem user.nkey labKeys)
    "`${user.path}` has the nkey `${user.nkey}`, whose seed is public: make one of your own with `nk -gen user`")
  everyUser;

  network = path: name:
    optional (!(networks ? ${name})) "`${path}` is `${name}`, which is not there: add it to `networks`";

  ofHost = name: let
    host = hosts.${name};
    inherit (host) nats;
    at = "hosts.${name}.nats";
    leaf = nats.leafNodes;
    ports = [nats.port] ++ optional (leaf != null && leaf.listen != null) leaf.listen.port;
    open = remote: p.filter (url: !(p.hasPrefix "tls://" url)) remote.urls;
  in
    concatMap (operator: network "hosts.${name}.operators.${operator}.from" host.operators.${operator}.from) (attrNames host.operators)
    ++ optionals (nats != null) (
      optional (nats.syncInterval != "always" && !lab)
      "`${at}.syncInterval` is `${nats.syncInterval}`: a power cut would lose what was acked within that time; use `always`"
      ++ optional ((nats.tls.verify or false) && host.components ? storage-manager)
      "`${at}.tls.verify` is true, and the storage manager has no certificate to show: set it to false; users log in with their nkeys"
      ++ map (port: "`${at}` listens twice on port `${port}`: give `leafNodes.listen.port` another") (p.duplicates (map toString ports))
      ++ optionals (leaf != null) (
        optional (leaf.listen == null && leaf.remotes == {}) "`${at}.leafNodes` has neither `listen` nor `remotes`: give one, or set it to null"
        ++ optionals (leaf.listen != null) (
          network "${at}.leafNodes.listen.from" leaf.listen.from
          ++ optional (leaf.listen.users == {}) "`${at}.leafNodes.listen.users` is empty: no leaf node could log in; add one with its nkey"
        )
        ++ concatMap (remote: let
          r = leaf.remotes.${remote};
        in
          optional (r.urls == []) "`${at}.leafNodes.remotes.${remote}.urls` is empty: give where to connect to"
          ++ optionals (!lab) (map (url: "`${at}.leafNodes.remotes.${remote}.urls` has `${url}`, which is not encrypted: use `tls://`") (open r))
          ++ optional (r.export == [] && r.import == []) "`${at}.leafNodes.remotes.${remote}` lets nothing cross: give subjects in `export` or `import`, or remove it")
        (attrNames leaf.remotes)
      )
    );
in
  shared ++ public ++ concatMap ofHost (attrNames hosts)
