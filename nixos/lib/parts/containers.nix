# The containers of a host: each has a private network on the one bridge, a memory limit, and the secrets of
# its unit alone.
{
  host,
  inventory,
  units,
  storageManager,
  enabled,
}: let
  p = import ../prelude.nix;
  ipv4 = import ../ipv4.nix;
  components = import ../components.nix;
  streams = import ../streams.nix;

  # What a component's program has to know besides its way to NATS: the stream that holds its events, and its
  # key-value bucket. Of several the first.
  places = name: let
    holding = streams.holding inventory "cim.event.${components.${name}.token}.>";
    own = p.filter (b: inventory.buckets.${b}.kind == "kv" && p.elem name inventory.buckets.${b}.users) (p.attrNames inventory.buckets);
  in
    p.optionalAttrs (holding != []) {CIM_EVENTS_STREAM = p.head holding;}
    // p.optionalAttrs (own != []) {CIM_VIEWS_BUCKET = p.head own;};

  container = kind: name: c: {
    inherit kind name;
    inherit (c) address memory;
    bridge = host.containers.bridge;
    prefixLength = ipv4.prefixLength host.containers.cidr;
    gateway = host.containers.hostAddress;
    natsPort = host.nats.port;
    inbox =
      if kind == "components"
      then import ../inbox.nix name
      else "_INBOX_${name}";
    # The unit inside, if the core knows the program; null if a package has to be given.
    unit =
      if name == "storage-manager"
      then units.cim-storage-manager
      else null;
    environment =
      if kind == "components" && name != "storage-manager"
      then places name
      else {};
    # Files of the host that are bound into the container, read-only, at the same path.
    binds =
      if name == "storage-manager"
      then p.attrValues storageManager.credentials
      else ["/var/lib/cim-secrets/${name}.nk"];
    # systemd's limits for container@<name>.service.
    limits = {
      MemoryMax = c.memory;
      TasksMax = 512;
    };
  };
  of = kind: builtins.mapAttrs (container kind) (p.filterAttrs (_: c: c.address != null) host.${kind});
in
  p.optionalAttrs enabled (of "components" // of "plugins")
