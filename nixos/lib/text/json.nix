# JSON that people can read: two spaces deeper for every level, names sorted.
let
  p = import ../prelude.nix;
  inherit (builtins) isAttrs isList toJSON;

  go = indent: value: let
    deeper = indent + "  ";
    block = open: items: close:
      if items == []
      then open + close
      else "${open}\n${p.concatStringsSep ",\n" (map (item: deeper + item) items)}\n${indent}${close}";
  in
    if isAttrs value
    then block "{" (p.mapAttrsToList (name: v: "${toJSON name}: ${go deeper v}") value) "}"
    else if isList value
    then block "[" (map (go deeper) value) "]"
    else toJSON value;
in
  value: go "" value + "\n"
