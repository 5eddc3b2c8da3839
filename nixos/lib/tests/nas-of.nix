# A NAS with a provider, and the rest of the sample around it.
provider: let
  sample = import ./sample.nix;
in
  (import ../.).render {
    inventory =
      sample
      // {
        version = 2;
        hosts = sample.hosts // {nas = sample.hosts.nas // {s3 = {inherit provider;};};};
        # Garage cannot be the tier that decides the archive.
        tiers =
          if provider == "garage"
          then {
            secondary = sample.tiers.tertiary;
            tertiary = sample.tiers.secondary;
          }
          else sample.tiers;
      };
    host = "nas";
  }
