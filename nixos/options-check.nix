# Checks that every option is described and listed in docs/options.md: with the language's builtins alone, so that
# it runs without nixpkgs too. options-doc.nix compares the text of each.
#
# Gives `N options`, or throws with every faulty option and its problem.
let
  inherit (builtins) attrNames concatMap concatStringsSep elem filter isFunction isString length mapAttrs match split;

  modules = import ./modules/list.nix;

  # As much of nixpkgs' `lib` as the declarations of options read. A type is its contents: a module with more
  # options, and the part of their names that the user chooses.
  leaf = {module = {};};
  below = part: type: type // {path = [part] ++ type.path or [];};
  types = {
    anything = leaf;
    bool = leaf;
    package = leaf;
    path = leaf;
    port = leaf;
    raw = leaf;
    singleLineStr = leaf;
    str = leaf;
    ints = {
      between = _: _: leaf;
      positive = leaf;
      unsigned = leaf;
    };
    addCheck = type: _: type;
    attrsOf = below "<name>";
    either = first: _: first;
    enum = _: leaf;
    listOf = below "*";
    nullOr = type: type;
    submodule = module: {inherit module;};
  };
  lib = {
    inherit attrNames concatStringsSep mapAttrs types;
    concatMapStringsSep = between: text: list: concatStringsSep between (map text list);
    literalExpression = text: {inherit text;};
    literalMD = text: {inherit text;};
    mkEnableOption = what:
      lib.mkOption {
        type = leaf;
        example = true;
        description = "Whether to enable ${what}.";
      };
    mkOption = option: option // {_type = "option";};
  };

  unread = what: throw "the declaration of an option reads `${what}`: options-check.nix has none";
  declared = module: let
    loaded =
      if builtins.isPath module
      then import module
      else module;
    arguments = mapAttrs (name: _: unread name) (builtins.functionArgs loaded);
  in
    (
      if isFunction loaded
      then loaded (arguments // {inherit lib;})
      else loaded
    )
    .options
    or {};

  # Every option below a name, submodules' included.
  walk = path: value:
    if (value._type or "") == "option"
    then
      if value.internal or false || !(value.visible or true)
      then []
      else [(value // {name = concatStringsSep "." path;})] ++ walk (path ++ value.type.path or []) (declared (value.type.module or {}))
    else concatMap (name: walk (path ++ [name]) value.${name}) (attrNames value);
  all = concatMap (name: walk [] (declared modules.${name})) (filter (name: name != "default") (attrNames modules));

  page = builtins.readFile ../docs/options.md;
  described = concatMap (line:
    if isString line && match "### `(.*)`" line != null
    then match "### `(.*)`" line
    else []) (split "\n" page);

  empty = value: value == null || value == "";
  lacks = option:
    map (key: "no ${key}") (filter (key: empty (option.${key} or null)) ["description" "example" "type"])
    ++ (
      if elem option.name described
      then []
      else ["not in docs/options.md: run `ci/options-doc`"]
    );
  names = map (option: option.name) all;
  wrong =
    concatMap (option: map (what: "  ${option.name}: ${what}\n") (lacks option)) all
    ++ map (name: "  ${name}: in docs/options.md, and declared nowhere\n") (filter (name: !(elem name names)) described);
in
  if wrong != []
  then throw "options that are not in order:\n${concatStringsSep "" wrong}"
  else "${toString (length all)} options"
