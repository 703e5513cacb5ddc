"""Catalogues of datasets and files, and how their files are found, checked and opened."""
