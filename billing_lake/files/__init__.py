"""Files by URI: the same few verbs for a folder of this machine and for S3, so that nothing above asks which it is."""
