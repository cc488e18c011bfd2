"""CLIP's two towers with named insertion points, its weights and its tokenizer. Imported without torch."""
