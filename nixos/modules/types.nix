# Types that several modules use. ../lib alone decides what an address, a key or a subject is; here the type gets
# the name that an error message shows.
{lib}: let
  inherit (lib) types;
  ip = import ../lib/ipv4.nix;
  nkeys = import ../lib/nkeys.nix;
  subjects = import ../lib/subjects.nix;

  named = description: is: types.addCheck types.str is // {inherit description;};
  matching = description: regex: named description (text: builtins.match regex text != null);
in {
  # Secrets are named by path and never by value: every value that a module reads goes to the store, which every
  # user of a machine can read. A path literal would be copied there, so strings only.
  secretFile =
    named "absolute path of a file outside the Nix store, written as a string"
    (path: lib.hasPrefix "/" path && !lib.hasPrefix builtins.storeDir path);

  nkey = named "public nkey of a NATS user (`U` and 55 characters, from `nk -gen user -pubout`)" nkeys.isUser;
  ipv4 = named "IPv4 address" (text: ip.parse text != null);
  cidr = named "IPv4 network such as `10.71.0.0/24`" (text: ip.parseCidr text != null);
  subject = named "NATS subject" subjects.valid;
  url = matching "URL `http://host[:port]` or `https://host[:port]`" "https?://[^/[:space:]]+";
  leafUrl = matching "URL `tls://host:port` or `nats://host:port`" "(tls|nats)://[^/[:space:]]+:[0-9]+";
  node = matching "name of lowercase letters, digits and `-`" "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
  interface = matching "interface name of at most 15 lowercase letters, digits and `-`" "[a-z][a-z0-9-]{0,14}";
  bucket = matching "name of an S3 bucket" "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]";
  streamGlob = matching "stream name, in which `*` stands for any text" "[A-Za-z0-9_*-]{1,255}";
  duration = matching "duration such as `90s`, `2m` or `1h`" "[0-9]+(ms|s|m|h)";
  memory = matching "size such as `512M` or `2G`" "[0-9]+[KMGT]";
}
