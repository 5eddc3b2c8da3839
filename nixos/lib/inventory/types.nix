# The inventory, version 4: every key, its type and its default. Version 3 has no `tiers.retention`, version 2 no
# `tiers.encryption`, version 1 fewer words for `provider`.
let
  t = import ../schema.nix;
  ipv4 = import ../ipv4.nix;
  subjects = import ../subjects.nix;
  nkeys = import ../nkeys.nix;

  nodeName = t.matching "a name of lowercase letters, digits and `-`" "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
  # Linux allows 15 characters for an interface.
  interfaceName = t.matching "an interface name of at most 15 lowercase letters, digits and `-`" "[a-z][a-z0-9-]{0,14}";
  streamName = t.matching "a stream name of letters, digits, `_` and `-`" "[A-Za-z0-9_-]{1,255}";
  # As cim-core's `BucketName`.
  bucketName = t.suchThat "an S3 bucket name: 3 to 63 lowercase letters, digits, `-` and `.`, and not an IPv4 address; each part between dots begins and ends with a letter or digit" (v: let
    part = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
  in
    builtins.isString v
    && builtins.match ".{3,63}" v != null
    && builtins.match "${part}([.]${part})*" v != null
    && ipv4.parse v == null);
  region = t.matching "a region such as `us-east-1`" "[a-z0-9-]{1,63}";
  userKey = t.suchThat "the public key of a NATS user (`U…`, 56 characters, from `nk -gen user -pubout`)" nkeys.isUser;
  address = t.suchThat "an IPv4 address" (v: builtins.isString v && ipv4.parse v != null);
  cidr = t.suchThat "an IPv4 network such as `10.0.0.0/24`, with no bits behind its prefix" (v: builtins.isString v && ipv4.parseCidr v != null);
  path = t.matching "an absolute path" "/[^[:space:]]*";
  port = t.int 1 65535;
  bytes = t.int 1 9007199254740991;
  subject = t.suchThat "a NATS subject" (v: builtins.isString v && subjects.valid v);
  duration = t.matching "a duration such as `90s`, `2m`, `1h`" "[0-9]+(ms|s|m|h)";
  size = t.matching "a size such as `512M` or `2G`" "[0-9]+[KMGT]";
  storage = t.oneOf ["file" "memory"];

  componentNames = builtins.attrNames (import ../components.nix);
  componentName = t.oneOf componentNames;

  tls = t.record {
    certificate = path;
    # Stays with root; the server reads it as a credential.
    key = path;
    # The signing authority, which clients trust. Left out: the system's roots.
    ca = t.optional path;
    # Clients must show a certificate of this authority as well.
    verify = t.withDefault false t.bool;
  };

  leafUser = t.record {
    nkey = userKey;
    publish = t.withDefault [] (t.listOf subject);
    subscribe = t.withDefault [] (t.listOf subject);
  };

  leafRemote = t.record {
    # `nkey`: LEAF_<NAME>=SU… in /var/lib/cim-secrets/leaf-<name>.env. `credentials`: a .creds file,
    # leaf-<name>.creds, for servers in operator mode.
    login = t.withDefault "nkey" (t.oneOf ["nkey" "credentials"]);
    urls = t.listOf (t.matching "a URL `tls://host:port` or `nats://host:port`" "(tls|nats)://[^/[:space:]]+:[0-9]+");
    # Subjects that may cross, seen from this host; no others do.
    export = t.withDefault [] (t.listOf subject);
    import = t.withDefault [] (t.listOf subject);
  };

  nats = t.record {
    port = t.withDefault 4222 port;
    maxFileStore = bytes;
    maxMemoryStore = bytes;
    syncInterval = t.withDefault "always" (t.suchThat "`always`, or a duration such as `2m`" (v: v == "always" || duration.is v));
    maxPayload = t.withDefault 1048576 (t.int 65536 67108864);
    tls = t.optional tls;
    leafNodes = t.optional (t.record {
      listen = t.optional (t.record {
        port = t.withDefault 7422 port;
        from = nodeName;
        users = t.mapOf nodeName leafUser;
      });
      remotes = t.withDefault {} (t.mapOf nodeName leafRemote);
    });
    monitorKey = t.optional userKey;
  };

  component = t.record {
    nkey = userKey;
    # Its container's address. Left out: the user exists, the container does not (yet).
    address = t.optional address;
    memory = t.withDefault "512M" size;
    # Components whose services it may ask, and whose events it may read, besides its own.
    asks = t.withDefault [] (t.listOf componentName);
    reads = t.withDefault [] (t.listOf componentName);
    # The storage manager's tables: streams, segment, seal, collect, memory.
    settings = t.withDefault {} (t.mapOf (t.oneOf ["streams" "segment" "seal" "collect" "memory"]) (t.mapOf (t.matching "a key" "[a-z_]+") t.anything));
  };

  plugin = t.record {
    nkey = userKey;
    address = t.optional address;
    memory = t.withDefault "256M" size;
    publish = t.withDefault [] (t.listOf subject);
    subscribe = t.withDefault [] (t.listOf subject);
  };

  host = t.record {
    role = t.oneOf ["host" "nas" "fake-wasabi" "operator"];
    system = t.withDefault "x86_64-linux" (t.oneOf ["x86_64-linux" "aarch64-linux"]);
    network = nodeName;
    inherit address;
    ssh = t.optional (t.record {
      keys = t.listOf (t.matching "a public SSH key" "(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa|sk-ssh-ed25519@openssh.com) [A-Za-z0-9+/=]+( .*)?");
      from = t.listOf cidr;
    });
    nats = t.optional nats;
    operators = t.withDefault {} (t.mapOf nodeName (t.record {
      nkey = userKey;
      from = nodeName;
    }));
    components = t.withDefault {} (t.mapOf componentName component);
    containers = t.optional (t.record {
      inherit cidr;
      bridge = t.withDefault "br-cim" interfaceName;
      hostAddress = address;
    });
    plugins = t.withDefault {} (t.mapOf nodeName plugin);
    s3 = t.optional (t.record {
      provider = t.oneOf ["minio" "garage" "rustfs" "seaweedfs" "versitygw" "fake-wasabi"];
      port = t.withDefault 9000 port;
      region = t.withDefault "us-east-1" region;
      # Networks that may reach it, besides the hosts that tier to it.
      from = t.withDefault [] (t.listOf nodeName);
    });
  };

  tier = t.record {
    host = t.optional nodeName;
    endpoint = t.optional (t.matching "a URL `https://host[:port]` or `http://host[:port]`" "https?://[^/[:space:]]+");
    region = t.optional region;
    bucket = bucketName;
  };

  # Keys are files of the machine that archives: `2027` is archive-2027.key among its secrets.
  encryption = t.record {
    tiers = t.withDefault "both" (t.oneOf ["both" "wasabi" "none"]);
    # The one that writes, and those that read as well.
    key = t.optional nodeName;
    moreKeys = t.withDefault [] (t.listOf nodeName);
  };

  # How long the archive of some streams is kept.
  retention = t.record {
    streams = t.listOf (t.matching "a stream name, in which `*` stands for any text" "[A-Za-z0-9_*-]{1,255}");
    tier = t.optional (t.oneOf ["nas" "wasabi"]);
    maxAge = t.optional duration;
    maxMessages = t.optional bytes;
    maxBytes = t.optional bytes;
    # A stream that JetStream does not have any more, and what only a left timeline has.
    dropped = t.optional duration;
    leftTimelines = t.optional duration;
  };

  stream = t.record {
    subjects = t.listOf subject;
    storage = t.withDefault "file" storage;
    retention = t.withDefault "limits" (t.oneOf ["limits" "interest" "workqueue"]);
    discard = t.withDefault "old" (t.oneOf ["old" "new"]);
    maxBytes = t.optional bytes;
    maxMessages = t.optional bytes;
    maxAge = t.optional duration;
    maxMessageSize = t.optional (t.int 1 67108864);
    duplicateWindow = t.withDefault "2m" duration;
    description = t.optional t.string;
  };

  bucket = t.record {
    kind = t.withDefault "kv" (t.oneOf ["kv" "object"]);
    storage = t.withDefault "file" storage;
    history = t.withDefault 1 (t.int 1 64);
    maxBytes = t.optional bytes;
    ttl = t.optional duration;
    # The components that read and write it.
    users = t.withDefault [] (t.listOf componentName);
    description = t.optional t.string;
  };
in
  t.record {
    version = t.suchThat "the number 4, 3, 2 or 1: this toolkit reads no other version" (v: builtins.elem v [1 2 3 4]);
    name = nodeName;
    lab = t.withDefault false t.bool;
    networks = t.mapOf nodeName (t.record {inherit cidr;});
    hosts = t.mapOf nodeName host;
    tiers = t.withDefault {} (t.record {
      secondary = t.optional tier;
      tertiary = t.optional tier;
      encryption = t.optional encryption;
      retention = t.withDefault [] (t.listOf retention);
    });
    streams = t.withDefault {} (t.mapOf streamName stream);
    buckets = t.withDefault {} (t.mapOf streamName bucket);
  }
