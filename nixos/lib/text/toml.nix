# TOML of a set whose values are plain, lists of plain ones, tables, or lists of tables.
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

  isTables = v: isList v && v != [] && builtins.all isAttrs v;

  table = path: set: let
    tables = p.filterAttrs (_: isAttrs) set;
    arrays = p.filterAttrs (_: isTables) set;
    values = p.filterAttrs (_: v: !(isAttrs v || isTables v)) set;
    header = p.optional (path != [] && (values != {} || (tables == {} && arrays == {}))) "[${p.concatStringsSep "." (map key path)}]";
    assignments = p.mapAttrsToList (name: v: "${key name} = ${plain v}");
    body = header ++ assignments values;
    # Each of a list's tables is plain.
    array = name: map (entry: p.lines (["[[${p.concatStringsSep "." (map key (path ++ [name]))}]]"] ++ assignments entry));
  in
    p.optional (body != []) (p.lines body)
    ++ builtins.concatLists (p.mapAttrsToList array arrays)
    ++ builtins.concatLists (p.mapAttrsToList (name: table (path ++ [name])) tables);
in
  set: p.concatStringsSep "\n\n" (table [] set) + "\n"
