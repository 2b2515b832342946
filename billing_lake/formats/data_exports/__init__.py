"""What all tables of AWS Data Exports share, CUR 2.0 and FOCUS among them: layouts, manifests, files, and which table a manifest is of."""
