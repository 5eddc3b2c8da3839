# Tiers: the archive's places, and that only one storage manager writes it.
inventory: let
  p = import ../prelude.nix;
  inherit (p) optional optionals attrNames filter;
  inherit (inventory) hosts tiers lab;
  writers = filter (name: hosts.${name}.components ? storage-manager) (attrNames hosts);
  quoted = names: p.concatStringsSep " and " (map (n: "`${n}`") names);

  tier = key: roles: let
    t = tiers.${key};
    at = "`tiers.${key}";
    role = hosts.${t.host}.role;
  in
    optionals (t != null) (
      optional ((t.host == null) == (t.endpoint == null)) "${at}` needs either `host` or `endpoint`: give exactly one of them"
      ++ optionals (t.host != null) (
        if !(hosts ? ${t.host})
        then ["${at}.host` is `${t.host}`, which is not there: add it to `hosts`, or use another"]
        else optional (!(p.elem role roles)) "${at}.host` is `${t.host}` of role `${role}`: use a machine of role ${quoted roles}"
      )
      ++ optionals (t.endpoint != null) (
        optional (t.region == null) "${at}.region` is missing: give the region that requests to `${t.endpoint}` are signed for"
        ++ optional (!lab && !(p.hasPrefix "https://" t.endpoint)) "${at}.endpoint` is `${t.endpoint}`, which is not encrypted: use `https://`"
      )
    );

  # Writes of both tiers are decided at the secondary one, so only its service must refuse a second writer.
  conditions = host:
    optional (host != null && (hosts.${host}.s3.provider or null) == "garage")
    "`tiers.secondary.host` is `${host}`, whose `s3.provider` is `garage`: it ignores the conditions of writes, so two writers could overwrite each other; use another provider, or that machine as `tiers.tertiary`";
  encryption = let
    e = tiers.encryption;
  in
    optionals (e != null) (
      optional (inventory.version < 3) "`tiers.encryption` is given, which version `${toString inventory.version}` of the inventory does not have: set `version` to 3"
      ++ optional (tiers.secondary == null) "`tiers.encryption` is given without `tiers.secondary`: nothing is archived, so give that as well"
      ++ optional (e.tiers != "none" && e.key == null) "`tiers.encryption.key` is missing: give the name of the key that writes, or set `tiers.encryption.tiers` to `none`"
      ++ optional (e.tiers == "wasabi" && tiers.tertiary == null) "`tiers.encryption.tiers` is `wasabi` without `tiers.tertiary`: nothing would be encrypted; use `both`, or give that tier"
    );
  retention = let
    limits = ["maxAge" "maxMessages" "maxBytes" "dropped" "leftTimelines"];
    entry = index: let
      e = builtins.elemAt tiers.retention index;
      at = "`tiers.retention[${toString index}]";
    in
      optional (e.streams == []) "${at}.streams` is empty: name streams, or `*` for all"
      ++ optional (builtins.all (limit: e.${limit} == null) limits) "${at}` has no limit and would keep everything: give `maxAge`, `maxMessages`, `maxBytes`, `dropped` or `leftTimelines`, or remove it"
      ++ optional (e.tier == "wasabi" && tiers.tertiary == null) "${at}.tier` is `wasabi` without `tiers.tertiary`: use `nas`, or give that tier";
  in
    optionals (tiers.retention != []) (
      optional (inventory.version < 4) "`tiers.retention` is given, which version `${toString inventory.version}` of the inventory does not have: set `version` to 4"
      ++ optional (tiers.secondary == null) "`tiers.retention` is given without `tiers.secondary`: nothing is archived, so give that as well"
      ++ p.concatMap entry (builtins.genList (index: index) (p.length tiers.retention))
    );
in
  tier "secondary" ["nas"]
  ++ conditions (tiers.secondary.host or null)
  ++ tier "tertiary" ["fake-wasabi" "nas"]
  ++ encryption
  ++ retention
  ++ optional (tiers.secondary == null && tiers.tertiary != null) "`tiers.tertiary` is given without `tiers.secondary`: events reach it from there, so give that as well"
  ++ optional (tiers.secondary == null && writers != []) "`tiers.secondary` is missing, but a storage manager runs on ${quoted writers}: give the NAS's `host` and `bucket`"
  ++ optional (p.length writers > 1) "${quoted writers} each run a storage manager, and both would write the same archive: keep it on one of them"
  ++ optional (tiers.secondary != null && tiers.tertiary != null && tiers.secondary.host != null && tiers.secondary.host == tiers.tertiary.host) "`tiers.secondary` and `tiers.tertiary` are the same machine, `${tiers.secondary.host}`: losing it would lose both; use another"
