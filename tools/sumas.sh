# Sourced by other scripts: the checksum of a configuration file, as in the labels of a compose file.

sum() { cksum <"$1" 2>/dev/null | tr ' ' -; }
