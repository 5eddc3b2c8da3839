# Types for JSON: all problems of a value at once, and the value with defaults filled in.
#
# A type is a set with `what` (for people), `is` (the value itself), and `inner` (errors further down).
let
  p = import ./prelude.nix;
  inherit (p) concatMap attrNames hasAttr elem concatStringsSep;

  at = path: name:
    if path == ""
    then name
    else "${path}.${name}";

  simple = what: is: {
    inherit what is;
    inner = _: _: [];
    fill = value: value;
  };

  quoted = names: concatStringsSep ", " (map (name: "`${name}`") names);
in rec {
  string = simple "a string" builtins.isString;
  bool = simple "true or false" builtins.isBool;
  anything = simple "a value" (_: true);

  # A whole number within bounds, both included.
  int = low: high: simple "a whole number from ${toString low} to ${toString high}" (value: builtins.isInt value && value >= low && value <= high);

  # A string of a form; `what` names the form.
  matching = what: regex: simple what (value: builtins.isString value && p.match regex value != null);

  suchThat = what: is: simple what is;

  oneOf = values: simple "one of ${quoted values}" (value: elem value values);

  listOf = type: {
    what = "a list";
    is = builtins.isList;
    inner = path: list: concatMap (i: check "${path}[${toString i}]" type (builtins.elemAt list i)) (builtins.genList (i: i) (builtins.length list));
    fill = map type.fill;
  };

  # A map of names of a form to values of one type.
  mapOf = name: type: {
    what = "an object";
    is = builtins.isAttrs;
    inner = path: set:
      concatMap (key:
        p.optional (!name.is key) "`${at path key}`: `${key}` is not ${name.what}: rename it"
        ++ check (at path key) type set.${key}) (attrNames set);
    fill = builtins.mapAttrs (_: type.fill);
  };

  nullOr = type: {
    what = "${type.what}, or null";
    is = value: value == null || type.is value;
    inner = path: value:
      if value == null
      then []
      else type.inner path value;
    fill = value:
      if value == null
      then null
      else type.fill value;
  };

  # A key that may be left out.
  withDefault = default: type: type // {inherit default;};
  optional = type: withDefault null (nullOr type);

  # An object with these keys and no others.
  record = fields: {
    what = "an object";
    is = builtins.isAttrs;
    inner = path: set:
      concatMap (key:
        p.optional (!(hasAttr key fields)) "`${at path key}` is not a known key: remove it, or use one of ${quoted (attrNames fields)}") (attrNames set)
      ++ concatMap (key:
        if hasAttr key set
        then check (at path key) fields.${key} set.${key}
        else p.optional (!(fields.${key} ? default)) "`${at path key}` is missing: give ${fields.${key}.what}") (attrNames fields);
    fill = set:
      builtins.mapAttrs (key: type:
        type.fill (set.${key} or type.default))
      fields;
  };

  # Every error of a value; [] when it is of the type.
  check = path: type: value:
    if type.is value
    then type.inner path value
    else ["`${path}` is ${show value}: give ${type.what}"];

  show = value:
    if builtins.isString value
    then "`${value}`"
    else if builtins.isAttrs value
    then "an object"
    else if builtins.isList value
    then "a list"
    else if value == null
    then "null"
    else "`${builtins.toJSON value}`";
}
