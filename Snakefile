# Text-video retrieval tables, from video files to mean±std over seeds.
#   snakemake --profile demo  all_tables     a synthetic world, minutes on two CPU cores
#   snakemake --cores 8 -n    all_tables     what a run on the real data would do
# What to reproduce stands in config.yaml; how each paper trains in src/petvr/papers/<paper>/recipe.yaml.
include: "workflow/Snakefile"
