# The subjects that each NATS user may publish to and subscribe to. All others are denied.
{
  inventory,
  host,
}: let
  p = import ../prelude.nix;
  components = import ../components.nix;
  streams = import ../streams.nix;
  inherit (p) concatMap concatLists;
  token = name: components.${name}.token;
  inbox = import ../inbox.nix;

  # Access to a part of a stream through one pull consumer of this name, and to no other part: the filter is part
  # of the subject that creates the consumer.
  reader = stream: consumer: filter: {
    publish = [
      "$JS.API.STREAM.INFO.${stream}"
      "$JS.API.CONSUMER.CREATE.${stream}.${consumer}.${filter}"
      "$JS.API.CONSUMER.INFO.${stream}.${consumer}"
      # A process that starts removes the consumer of the one before it.
      "$JS.API.CONSUMER.DELETE.${stream}.${consumer}"
      "$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}"
      "$JS.ACK.${stream}.${consumer}.>"
      # The form of servers that put domain and account before the stream.
      "$JS.ACK.*.*.${stream}.${consumer}.>"
    ];
    subscribe = [];
  };

  # The events of `of`, for `name`: a consumer `<name>` for its own, and `<name>-cli` for the commands that are run
  # beside it (`digest`, `rebuild`); `<name>-<of>` for another's.
  events = name: of: let
    filter = "cim.event.${token of}.>";
    consumers =
      if of == name
      then [name "${name}-cli"]
      else ["${name}-${of}"];
  in
    concatMap (stream: map (consumer: reader stream consumer filter) consumers) (streams.holding inventory filter);

  bucket = name: let
    b = inventory.buckets.${name};
    stream = streams.bucketStream name b;
    space =
      if b.kind == "kv"
      then "$KV.${name}.>"
      else "$O.${name}.>";
  in {
    publish = [
      space
      "$JS.API.STREAM.INFO.${stream}"
      "$JS.API.DIRECT.GET.${stream}.>"
      "$JS.API.STREAM.MSG.GET.${stream}"
      "$JS.API.CONSUMER.CREATE.${stream}.*.${space}"
      "$JS.API.CONSUMER.INFO.${stream}.*"
      "$JS.API.CONSUMER.DELETE.${stream}.*"
      "$JS.API.CONSUMER.MSG.NEXT.${stream}.*"
    ];
    subscribe = [];
  };
  buckets = name: map bucket (p.filter (b: p.elem name inventory.buckets.${b}.users) (p.attrNames inventory.buckets));

  join = parts: {
    publish = p.unique (concatLists (map (part: part.publish) parts));
    subscribe = p.unique (concatLists (map (part: part.subscribe) parts));
  };

  # A component may answer a request once, on the subject that the request named.
  answers = {
    max = 1;
    expires = "1m";
  };

  allow = {
    publish,
    subscribe,
    ...
  } @ rules:
    {
      publish = {allow = publish;};
      subscribe = {allow = subscribe;};
    }
    // p.optionalAttrs (rules ? answers) {allow_responses = rules.answers;};

  member = own: name: {
    publish = [];
    subscribe =
      ["${own}.>"]
      ++ concatMap (verb: ["$SRV.${verb}" "$SRV.${verb}.${name}" "$SRV.${verb}.${name}.*"]) ["PING" "INFO" "STATS"];
  };

  component = name: let
    c = host.components.${name};
    own = token name;
    speaks = {
      publish = ["cim.event.${own}.>"] ++ map (other: "cim.service.${token other}.>") c.asks;
      subscribe = ["cim.service.${own}.>" "cim.cmd.${own}.>"];
    };
  in
    join ([speaks (member (inbox name) name)] ++ events name name ++ concatMap (events name) c.reads ++ buckets name)
    // {inherit answers;};

  # The program's requests of today, no more: it reads and restores every stream, so it may use every stream but
  # few verbs. It may neither publish events nor make, change or purge a stream.
  # It makes one durable consumer in interest streams, named after the archive, and acknowledges for no other.
  # It deletes its own readers, and the remains of a failed restore of a stream in memory.
  anchor = "cim-tier-${builtins.replaceStrings ["."] ["_"] inventory.tiers.secondary.bucket}";
  # It asks whether another storage manager writes the journal, and answers that it does.
  lead = "cim.service.storage.journal.*";
  # It asks for its account, which also tells apart two hosts that archive into one bucket.
  account = "$SYS.REQ.USER.INFO";
  storageManager = {
    inherit answers;
    publish =
      [lead account]
      ++ map (verb: "$JS.${verb}") [
        "API.INFO"
        "API.STREAM.NAMES"
        "API.STREAM.LIST"
        "API.STREAM.INFO.*"
        "API.STREAM.MSG.GET.*"
        "API.STREAM.SNAPSHOT.*"
        "API.STREAM.RESTORE.*"
        "API.STREAM.DELETE.*"
        "API.CONSUMER.LIST.*"
        "API.CONSUMER.CREATE.*"
        "API.CONSUMER.DELETE.*.*"
        "API.CONSUMER.INFO.*.*"
        "API.CONSUMER.DURABLE.CREATE.*.${anchor}"
        "ACK.*.${anchor}.>"
        "ACK.*.*.*.${anchor}.>"
        "API.CONSUMER.MSG.NEXT.*.*"
        "SNAPSHOT.RESTORE.*.*"
      ];
    subscribe = ["${inbox "storage-manager"}.>" lead];
  };

  plugin = name: let
    given = host.plugins.${name};
  in
    join [given (member "_INBOX_${name}" name)] // {inherit answers;};
in {
  component = name:
    allow (
      if name == "storage-manager"
      then storageManager
      else component name
    );
  plugin = name: allow (plugin name);
  leaf = user: allow {inherit (user) publish subscribe;};
  # People with the operator's key administer the whole account.
  operator = null;
  # The server's information about itself. Other verbs act: RELOAD, KICK, LDM.
  monitor = allow {
    publish =
      ["$SYS.REQ.SERVER.PING"]
      ++ concatMap (verb: ["$SYS.REQ.SERVER.PING.${verb}" "$SYS.REQ.SERVER.*.${verb}"])
      ["ACCOUNTZ" "CONNZ" "HEALTHZ" "IDZ" "JSZ" "LEAFZ" "STATSZ" "SUBSZ" "VARZ"];
    subscribe = ["_INBOX.>" "$SYS.SERVER.>" "$SYS.ACCOUNT.>"];
  };
}
