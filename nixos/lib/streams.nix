# Streams and buckets: overlaps, and the configuration for JetStream.
let
  p = import ./prelude.nix;
  subjects = import ./subjects.nix;
  inherit (p) optional concatMap attrNames mapAttrsToList optionalAttrs;

  units = {
    ms = 1000000;
    s = 1000000000;
    m = 60 * 1000000000;
    h = 3600 * 1000000000;
  };
  nanoseconds = text: let
    parts = p.match "([0-9]+)(ms|s|m|h)" text;
  in
    builtins.fromJSON (builtins.elemAt parts 0) * units.${builtins.elemAt parts 1};

  # Keys that the inventory does not give are left out: JetStream's own defaults hold.
  given = key: value: optionalAttrs (value != null) {${key} = value;};

  ofStream = name: s:
    {
      inherit name;
      inherit (s) subjects storage discard;
      retention = s.retention;
      num_replicas = 1;
      duplicate_window = nanoseconds s.duplicateWindow;
    }
    // given "max_bytes" s.maxBytes
    // given "max_msgs" s.maxMessages
    // given "max_msg_size" s.maxMessageSize
    // given "description" s.description
    // optionalAttrs (s.maxAge != null) {max_age = nanoseconds s.maxAge;};

  bucketStream = name: b:
    if b.kind == "kv"
    then "KV_${name}"
    else "OBJ_${name}";

  ofBucket = name: b:
    {
      name = bucketStream name b;
      inherit (b) storage;
      subjects =
        if b.kind == "kv"
        then ["$KV.${name}.>"]
        else ["$O.${name}.C.>" "$O.${name}.M.>"];
      allow_direct = true;
      allow_rollup_hdrs = true;
      discard = "new";
      num_replicas = 1;
    }
    // optionalAttrs (b.kind == "kv") {
      max_msgs_per_subject = b.history;
      deny_delete = true;
    }
    // given "max_bytes" b.maxBytes
    // given "description" b.description
    // optionalAttrs (b.ttl != null) {max_age = nanoseconds b.ttl;};
in rec {
  inherit bucketStream;

  # Every stream's configuration for JetStream's API, buckets included, by stream name.
  configs = inventory:
    p.listToAttrs (map (config: p.nameValue config.name config) (
      mapAttrsToList ofStream inventory.streams ++ mapAttrsToList ofBucket inventory.buckets
    ));

  # The declared streams that can hold a subject of this filter.
  holding = inventory: filter:
    p.filter (name: builtins.any (subjects.overlap filter) inventory.streams.${name}.subjects) (attrNames inventory.streams);

  check = inventory: let
    inherit (inventory) streams buckets;
    all =
      concatMap (stream: map (subject: {inherit stream subject;}) streams.${stream}.subjects) (attrNames streams);
    describe = x: "`${x.subject}` of stream `${x.stream}`";
    needed = sum:
      p.sum (map (bytes:
        if bytes == null
        then 0
        else bytes)
      sum);
    onDisk = needed (mapAttrsToList (_: s:
      if s.storage == "file"
      then s.maxBytes
      else null) (streams // buckets));
    hosts = p.filter (name: inventory.hosts.${name}.nats != null) (attrNames inventory.hosts);
  in
    concatMap (pair: let
      a = p.head pair;
      b = builtins.elemAt pair 1;
    in
      optional (subjects.overlap a.subject b.subject)
      "${describe a} and ${describe b} overlap, which JetStream refuses: give each message one stream") (p.pairs all)
    ++ concatMap (name: optional (streams.${name}.subjects == []) "`streams.${name}.subjects` is empty: give at least one") (attrNames streams)
    ++ concatMap (name:
      optional (p.match "(KV|OBJ)_.*" name != null) "`streams.${name}` has the name of a bucket's stream: declare it in `buckets`, or rename it") (attrNames streams)
    ++ concatMap (x:
      optional (p.match "\\$(JS|KV|O|SYS)\\..*" x.subject != null) "${describe x} is the server's own: use a subject of yours, or declare a bucket")
    all
    ++ concatMap (name:
      optional (buckets.${name}.kind == "object" && buckets.${name}.history != 1) "`buckets.${name}.history` is for key-value buckets: remove it from an object bucket") (attrNames buckets)
    ++ concatMap (name:
      optional (onDisk > inventory.hosts.${name}.nats.maxFileStore) "the `maxBytes` of all streams and buckets on disk add up to ${toString onDisk}, above `hosts.${name}.nats.maxFileStore` (${toString inventory.hosts.${name}.nats.maxFileStore}): lower one or raise the other")
    hosts;
}
