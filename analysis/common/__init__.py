"""What every room uses: errors, files, folders, tables, strict models."""
