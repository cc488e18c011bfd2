# Text-video retrieval tables, from video files to mean±std over seeds.
#   snakemake --profile demo  all_tables     a synthetic world, minutes on two CPU cores
#   snakemake --cores 8 -n    all_tables     what a run on the real data would do
# What to reproduce stands in config.yaml; how each paper trains in src/petvr/papers/<paper>/recipe.yaml.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/claims.smk"


rule all_tables:
    """Every table of the configuration, the page that links them, the papers' claims, and MLflow brought up to date."""
    default_target: True
    input:
        lambda w: awaited(PLAN.runs),
        [table_files(table) for table in PLAN.tables],
        LAYOUT.tables / "index.html",
        [LAYOUT.claims / f"{paper}.html" for paper in CLAIMING],
        [LAYOUT.mlflow / f"{table}.synced" for table in PLAN.tables],


rule all_figures:
    """Every figure that has at least one run, of papers and of tables, and the page that shows them."""
    input:
        figure_files,
        LAYOUT.figures / "index.html",


rule all_runs:
    """Every run, and no table."""
    input:
        lambda w: awaited(PLAN.runs),


if CONFIG.world is not None:

    include: "workflow/rules/world.smk"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"


onsuccess:
    say(rules_ask.left_out_lines(PLAN, LEFT_OUT))


onerror:
    if not workflow.output_settings.log_handler_settings:  # else they were shown
        say(rules_ask.failure_lines(map(Path, log)))
    if unfinished():
        shell(
            f"python -m petvr table {shlex.join(unfinished())}; python -m petvr index"
        )
