# The configuration of nats-server, as a set. The server reads it as JSON.
{
  inventory,
  name,
  host,
  reach,
}: let
  p = import ../prelude.nix;
  json = import ../text/json.nix;
  inherit (p) mapAttrsToList optionalAttrs optional;
  inherit (host) nats;
  permissions = import ./permissions.nix {inherit inventory host;};
  credential = file: "/run/credentials/nats.service/${file}";

  user = nkey: allowed: {inherit nkey;} // optionalAttrs (allowed != null) {permissions = allowed;};

  members =
    mapAttrsToList (n: c: user c.nkey (permissions.component n)) host.components
    ++ mapAttrsToList (n: c: user c.nkey (permissions.plugin n)) host.plugins
    ++ mapAttrsToList (_: o: user o.nkey permissions.operator) host.operators
    ++ mapAttrsToList (_: u: user u.nkey (permissions.leaf u) // {allowed_connection_types = ["LEAFNODE"];}) leafUsers;

  leaf =
    if nats.leafNodes == null
    then {
      listen = null;
      remotes = {};
    }
    else nats.leafNodes;
  leafUsers =
    if leaf.listen == null
    then {}
    else leaf.listen.users;

  # Each remote is bound to an account of its own; subjects that cross are exported and imported by name.
  remoteAccount = n: "LEAF-${n}";
  stream = account: subject: {stream = {inherit account subject;};};
  crossing = f: builtins.concatLists (mapAttrsToList f leaf.remotes);
  remoteAccounts = p.listToAttrs (mapAttrsToList (n: r:
    p.nameValue (remoteAccount n) {
      imports = map (stream "CIM") r.export;
      exports =
        map (subject: {
          stream = subject;
          accounts = ["CIM"];
        })
        r.import;
    })
  leaf.remotes);

  tls = {verify ? false}:
    optionalAttrs (nats.tls != null) {
      tls =
        {
          cert_file = nats.tls.certificate;
          key_file = credential "tls-key.pem";
        }
        // optionalAttrs (nats.tls.ca != null) {ca_file = nats.tls.ca;}
        // optionalAttrs verify {verify = true;};
    };

  leafNodes =
    optionalAttrs (leaf.listen != null) ({
        host = "0.0.0.0";
        inherit (leaf.listen) port;
      }
      // tls {})
    // optionalAttrs (leaf.remotes != {}) {
      remotes = mapAttrsToList (n: r:
        {
          inherit (r) urls;
          account = remoteAccount n;
        }
        // (
          if r.login == "nkey"
          then {nkey = "$" + variable n;}
          else {credentials = credential "leaf-${n}.creds";}
        ))
      leaf.remotes;
    };

  # The server wants the seed itself, not a file's path: it takes it from its environment.
  withNkey = p.filter (n: leaf.remotes.${n}.login == "nkey") (p.attrNames leaf.remotes);
  withCredentials = p.filter (n: leaf.remotes.${n}.login == "credentials") (p.attrNames leaf.remotes);
  variable = n: "LEAF_${p.upper n}";

  settings =
    {
      server_name = name;
      # The server takes one address: where more is needed it listens on all, and the firewall decides.
      host = reach.listen;
      inherit (nats) port;
      max_payload = nats.maxPayload;
      jetstream = {
        store_dir = "/var/lib/nats";
        max_file_store = nats.maxFileStore;
        max_memory_store = nats.maxMemoryStore;
        # Acked messages are on disk. Any other setting loses acked messages at a power cut.
        sync_interval = nats.syncInterval;
      };
      accounts =
        {
          CIM =
            {
              jetstream = "enabled";
              users = members;
            }
            // optionalAttrs (leaf.remotes != {}) {
              exports = crossing (n: r:
                map (subject: {
                  stream = subject;
                  accounts = [(remoteAccount n)];
                })
                r.export);
              imports = crossing (n: r: map (stream (remoteAccount n)) r.import);
            };
          SYS.users = optional (nats.monitorKey != null) (user nats.monitorKey permissions.monitor);
        }
        // remoteAccounts;
      system_account = "SYS";
      # The unit stops the server by SIGTERM, which takes no time. Lame duck mode on request gets the shortest time
      # that the server allows.
      lame_duck_duration = "30s";
      lame_duck_grace_period = "1s";
      # The journal has the time.
      logtime = false;
    }
    // tls {
      verify = nats.tls.verify or false;
    }
    // optionalAttrs (leafNodes != {}) {leafnodes = leafNodes;};
in {
  inherit settings;

  # JSON except for the variables, which the server expands only without quotes.
  text = p.replaceStrings (map (n: "\"$" + variable n + "\"") withNkey) (map (n: "$" + variable n) withNkey) (json settings);

  # Files that root keeps, by the name under which the unit gets them.
  credentials =
    optionalAttrs (nats.tls != null) {"tls-key.pem" = nats.tls.key;}
    // p.listToAttrs (map (n: p.nameValue "leaf-${n}.creds" "/var/lib/cim-secrets/leaf-${n}.creds") withCredentials);

  # Files of `NAME=value` lines for the unit's environment.
  environment = map (n: "/var/lib/cim-secrets/leaf-${n}.env") withNkey;
}
