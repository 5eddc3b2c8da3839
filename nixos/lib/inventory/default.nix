# Reads an inventory: a path of a JSON file, or the value itself.
let
  p = import ../prelude.nix;
  schema = import ../schema.nix;
  types = import ./types.nix;
  rules = import ./rules.nix;
in rec {
  parse = inventory:
    if builtins.isAttrs inventory
    then inventory
    else builtins.fromJSON (builtins.readFile inventory);

  # Every error, a line each; [] if the inventory can be used. Rules are applied only to parts of the right
  # form.
  check = inventory: let
    value = parse inventory;
    wrong =
      if builtins.isAttrs value
      then schema.check "" types value
      else ["the inventory is ${schema.show value}: give an object"];
  in
    if wrong != []
    then wrong
    else rules (types.fill value);

  # The inventory with every default filled in; throws with all errors at once.
  read = inventory: let
    errors = check inventory;
  in
    if errors == []
    then types.fill (parse inventory)
    else throw "the inventory cannot be used:\n${p.lines (map (error: "  ${error}") errors)}";
}
