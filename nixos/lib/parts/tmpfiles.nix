# Directories that must exist before a unit starts; the units' own come from StateDirectory.
["d /var/lib/cim-secrets 0700 root root -"]
