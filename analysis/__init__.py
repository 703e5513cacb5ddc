"""The ttbar lepton+jets analysis of CMS Open Data 2015."""

__version__ = "0.1.0"
