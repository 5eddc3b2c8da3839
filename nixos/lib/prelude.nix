# The few list and attribute-set functions that the language lacks.
rec {
  inherit
    (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    genList
    hasAttr
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    replaceStrings
    split
    stringLength
    substring
    tail
    toJSON
    ;

  optional = condition: item:
    if condition
    then [item]
    else [];

  optionals = condition: items:
    if condition
    then items
    else [];

  optionalAttrs = condition: set:
    if condition
    then set
    else {};

  nameValue = name: value: {inherit name value;};

  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);

  filterAttrs = keep: set:
    listToAttrs (concatMap (name: optional (keep name set.${name}) (nameValue name set.${name})) (attrNames set));

  # Merges sets; later ones win.
  mergeAll = foldl' (all: set: all // set) {};

  splitOn = separator: text: filter isString (split (escapeRegex separator) text);

  # A closing bracket alone is itself.
  escapeRegex = replaceStrings ["." "*" "+" "?" "(" ")" "[" "{" "}" "^" "$" "|" "\\"] [
    "\\."
    "\\*"
    "\\+"
    "\\?"
    "\\("
    "\\)"
    "\\["
    "\\{"
    "\\}"
    "\\^"
    "\\$"
    "\\|"
    "\\\\"
  ];

  lines = concatStringsSep "\n";

  repeat = n: text: concatStringsSep "" (genList (_: text) n);

  # Items that occur more than once, each named once.
  duplicates = items: let
    groups = builtins.groupBy (item: item) items;
  in
    filter (item: length groups.${item} > 1) (attrNames groups);

  # Every pair of different places in a list, once.
  pairs = items:
    if items == []
    then []
    else map (other: [(head items) other]) (tail items) ++ pairs (tail items);

  # A name in the spelling of environment variables.
  upper = let
    letters = text: genList (i: substring i 1 text) (stringLength text);
  in
    replaceStrings (letters "abcdefghijklmnopqrstuvwxyz-") (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;

  hasSuffix = suffix: text: let
    start = stringLength text - stringLength suffix;
  in
    start >= 0 && substring start (stringLength text) text == suffix;

  sum = foldl' (a: b: a + b) 0;

  unique = foldl' (seen: item:
    if elem item seen
    then seen
    else seen ++ [item]) [];

  # The attribute at `name`, or null; in these sets null means "not given".
  get = name: set: set.${name} or null;
}
