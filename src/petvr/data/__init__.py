"""What goes in: data sets, their download, their manifests, their frames, and the catalogue of them."""
