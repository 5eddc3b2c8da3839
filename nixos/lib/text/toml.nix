# TOML of a set whose values are plain, lists of plain ones, or tables.
let
  p = import ../prelude.nix;
  inherit (builtins) isAttrs isList toJSON;

  key = name:
    if p.match "[A-Za-z0-9_-]+" name != null
    then name
    else toJSON name;

  # JSON's escapes are TOML's.
  plain = value:
    if isList value
    then "[${p.concatStringsSep ", " (map plain value)}]"
    else if value == null
    then throw "TOML has no null: leave the key out"
    else toJSON value;

  table = path: set: let
    tables = p.filterAttrs (_: isAttrs) set;
    values = p.filterAttrs (_: v: !(isAttrs v)) set;
    header = p.optional (path != [] && (values != {} || tables == {})) "[${p.concatStringsSep "." (map key path)}]";
    body = header ++ p.mapAttrsToList (name: v: "${key name} = ${plain v}") values;
  in
    p.optional (body != []) (p.lines body)
    ++ builtins.concatLists (p.mapAttrsToList (name: table (path ++ [name])) tables);
in
  set: p.concatStringsSep "\n\n" (table [] set) + "\n"
