from pathlib import Path

snakemake = globals()["snakemake"]  # Snakemake puts it there
folder = Path(snakemake.output[0])
folder.mkdir()
(folder / "copy.txt").write_text(Path(snakemake.input.first).read_text() + snakemake.rule)
Path(snakemake.log[0]).write_text("done")
