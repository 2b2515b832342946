"""What all tables of Data Exports share."""
