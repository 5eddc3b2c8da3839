# The configuration of cim-storage-manager, as a set. It is TOML.
{
  inventory,
  name,
  host,
  natsAddress,
}: let
  p = import ../prelude.nix;
  inherit (p) optionalAttrs;
  inherit (inventory) hosts tiers;
  credential = file: "/run/credentials/cim-storage-manager.service/${file}";
  inherit (host.nats) tls;

  # Archive keys by name: the one that writes, and those that read as well.
  encryption = p.get "encryption" tiers;
  keyName = key: "archive-${key}.key";
  key =
    if encryption == null
    then null
    else encryption.key;
  moreKeys = p.optionals (encryption != null) (p.filter (name: name != key) (p.unique encryption.moreKeys));
  keys = p.optional (key != null) key ++ moreKeys;

  # `[[retention]]`, in the storage manager's words.
  retention = map (entry:
    {inherit (entry) streams;}
    // p.filterAttrs (_: value: value != null) {
      inherit (entry) tier dropped;
      max_age = entry.maxAge;
      max_msgs = entry.maxMessages;
      max_bytes =
        if entry.maxBytes == null
        then null
        else "${toString entry.maxBytes}B";
      left_timelines = entry.leftTimelines;
    }) (tiers.retention or []);

  service = file: tier: let
    machine = hosts.${tier.host};
    given =
      if tier.host != null
      then {
        endpoint = "http://${machine.address}:${toString machine.s3.port}";
        region =
          if tier.region != null
          then tier.region
          else machine.s3.region;
      }
      else {inherit (tier) endpoint region;};
  in
    given
    // {
      inherit (tier) bucket;
      credentials_file = credential file;
    };
in {
  settings =
    {
      node = {inherit name;};
      nats =
        {
          url = "${
            if tls == null
            then "nats"
            else "tls"
          }://${natsAddress}:${toString host.nats.port}";
          nkey_file = credential "storage-manager.nk";
          inbox_prefix = import ../inbox.nix "storage-manager";
        }
        // optionalAttrs (tls != null && tls.ca != null) {tls_ca = credential "nats-ca.pem";};
      secondary = service "nas.env" tiers.secondary;
    }
    // optionalAttrs (tiers.tertiary != null) {tertiary = service "wasabi.env" tiers.tertiary;}
    // optionalAttrs (encryption != null) {
      archive.encryption =
        {inherit (encryption) tiers;}
        // optionalAttrs (key != null) {key_file = credential (keyName key);}
        // optionalAttrs (moreKeys != []) {more_key_files = map (name: credential (keyName name)) moreKeys;};
    }
    // optionalAttrs (retention != []) {inherit retention;}
    // host.components.storage-manager.settings;

  credentials =
    {
      "storage-manager.nk" = "/var/lib/cim-secrets/storage-manager.nk";
      "nas.env" = "/var/lib/cim-secrets/nas.env";
    }
    // optionalAttrs (tiers.tertiary != null) {"wasabi.env" = "/var/lib/cim-secrets/wasabi.env";}
    // optionalAttrs (tls != null && tls.ca != null) {"nats-ca.pem" = tls.ca;}
    // p.listToAttrs (map (name: p.nameValue (keyName name) "/var/lib/cim-secrets/${keyName name}") keys);
}
