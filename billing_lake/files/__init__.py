"""Files by URI: the same operations for a folder of this machine and for S3."""
