# Public nkeys of NATS users: base32 of a prefix byte, 32 bytes of key and their CRC-16, low byte first.
#
# The check is needed: with one mistyped key nats-server does not start, and reports it only then.
let
  p = import ./prelude.nix;
  inherit (builtins) bitAnd bitXor concatMap div elemAt foldl' genList substring;

  alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  digits = builtins.listToAttrs (genList (i: p.nameValue (substring i 1 alphabet) i) 32);

  # 56 characters are seven groups of eight, each of five bytes.
  bytes = key:
    concatMap (group: let
      digit = i: digits.${substring (8 * group + i) 1 key};
      number = foldl' (n: i: n * 32 + digit i) 0 (genList (i: i) 8);
    in
      map (unit: bitAnd (div number unit) 255) [4294967296 16777216 65536 256 1])
    (genList (i: i) 7);

  # CRC-16/XMODEM.
  shift = crc:
    if bitAnd crc 32768 == 0
    then crc * 2
    else bitXor (bitAnd (crc * 2) 65535) 4129;
  crc16 = foldl' (crc: byte: foldl' (c: _: shift c) (bitXor crc (byte * 256)) (genList (i: i) 8)) 0;
in {
  isUser = key:
    builtins.isString key
    && builtins.match "U[A-Z2-7]{55}" key != null
    && (let
      all = bytes key;
      sum = elemAt all 33 + 256 * elemAt all 34;
    in
      crc16 (genList (elemAt all) 33) == sum);
}
