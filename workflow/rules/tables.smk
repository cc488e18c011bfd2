# From results to tables, figures and MLflow. Cheap: these run where Snakemake runs.


localrules:
    all_tables,
    all_figures,
    all_runs,
    table,
    tables_now,
    index,
    figure,
    figures_index,
    examples,
    site,
    track,


rule table:
    """One table as Markdown, LaTeX, CSV and HTML."""
    input:
        table_inputs,
    output:
        md=LAYOUT.table("{paper}/{table}", "md"),
        tex=LAYOUT.table("{paper}/{table}", "tex"),
        csv=LAYOUT.table("{paper}/{table}", "csv"),
        html=report(
            LAYOUT.table("{paper}/{table}", "html"),
            caption="../report/table.rst",
            category="Tables",
            subcategory="{paper}",
            # one label: Snakemake's page fails where two of them have two values each
            labels=lambda w: {
                "table": f"{w.table}: {PLAN.table(f'{w.paper}/{w.table}').title}"
            },
        ),
    log:
        LAYOUT.results / "logs" / "tables" / "table-{paper}-{table}.log",
    conda:
        ENVIRONMENT
    params:
        content=lambda w: rules_ask.table_digest(
            PLAN.table(f"{w.paper}/{w.table}"), CONFIG.rule, CONFIG.intervals
        ),
        standing=table_data,
    shell:
        "python -m petvr table {wildcards.paper:q}/{wildcards.table:q} > {log:q} 2>&1"


rule index:
    """The page that links all tables and says how complete each is."""
    input:
        [LAYOUT.table(table, "csv") for table in PLAN.tables],
    output:
        LAYOUT.tables / "index.html",
        LAYOUT.tables / "index.md",
    log:
        LAYOUT.results / "logs" / "tables" / "index.log",
    conda:
        ENVIRONMENT
    shell:
        "python -m petvr index > {log:q} 2>&1"


rule tables_now:
    """All tables from the results that are there; one that waits for runs is <table>.partial.md."""
    log:
        LAYOUT.results / "logs" / "tables" / "tables_now.log",
    conda:
        ENVIRONMENT
    shell:
        "(python -m petvr table --all && python -m petvr index) > {log:q} 2>&1"


rule figure:
    """One figure of a paper or of a table, and its values."""
    input:
        lambda w: awaited(shown.figure_runs(PLAN, f"{w.paper}/{w.figure}")),
    output:
        svg=report(
            LAYOUT.figures / "{paper}" / "{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{paper}",
            labels=lambda w: {
                "figure": f"{w.figure}: {shown.figures(PLAN)[f'{w.paper}/{w.figure}'].title}"
            },
        ),
        png=LAYOUT.figures / "{paper}" / "{figure}.png",
        csv=LAYOUT.figures / "{paper}" / "{figure}.csv",
    log:
        LAYOUT.results / "logs" / "tables" / "figure-{paper}-{figure}.log",
    conda:
        ENVIRONMENT
    params:
        content=lambda w: rules_ask.figure_digest(
            PLAN, f"{w.paper}/{w.figure}", CONFIG.rule
        ),
    shell:
        "python -m petvr figure {wildcards.paper:q}/{wildcards.figure:q} > {log:q} 2>&1"


rule figures_index:
    """The page that shows all figures."""
    input:
        figure_files,
    output:
        LAYOUT.figures / "index.html",
    log:
        LAYOUT.results / "logs" / "tables" / "figures_index.log",
    conda:
        ENVIRONMENT
    shell:
        "python -m petvr figure --index > {log:q} 2>&1"


rule examples:
    """Queries that two of a paper's runs get right and wrong, with the frames the model saw."""
    input:
        lambda w: awaited(EXAMPLES[w.paper]),
    output:
        folder=directory(LAYOUT.examples / "{paper}"),
        page=report(  # no report.html holds a folder
            LAYOUT.examples / "{paper}.html",
            caption="../report/examples.rst",
            category="Examples",
            labels={"paper": "{paper}"},
        ),
    log:
        LAYOUT.results / "logs" / "tables" / "examples-{paper}.log",
    conda:
        ENVIRONMENT
    params:
        runs=lambda w: EXAMPLES[w.paper],
    shell:
        "python -m petvr examples {params.runs:q} --out {output.folder:q} --single {output.page:q} > {log:q} 2>&1"


rule site:
    """The front page of the results: tables, claims, figures, examples, the state of the data."""
    input:
        LAYOUT.tables / "index.html",
        LAYOUT.figures / "index.html",
        [LAYOUT.claims / f"{paper}.html" for paper in CLAIMING],
        lambda w: [
            LAYOUT.examples / paper
            for paper, runs in EXAMPLES.items()
            if len(awaited(runs)) == len(runs)
        ],
    output:
        LAYOUT.results / "index.html",
    log:
        LAYOUT.results / "logs" / "tables" / "site.log",
    conda:
        ENVIRONMENT
    shell:
        "python -m petvr index --site > {log:q} 2>&1"


rule track:
    """Bring a table's runs into MLflow; what is there and unchanged is left alone."""
    input:
        table_inputs,
    output:
        LAYOUT.mlflow / "{paper}" / "{table}.synced",
    log:
        LAYOUT.results / "logs" / "tables" / "track-{paper}-{table}.log",
    conda:
        ENVIRONMENT
    params:
        uri=without_secrets(CONFIG.tracking_uri),
    shell:
        "python -m petvr track {wildcards.paper:q}/{wildcards.table:q} > {log:q} 2>&1"
