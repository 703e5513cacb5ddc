"""From the events of a chunk to regions: objects, channels, variations, plots."""
