# What the papers say in words, beside what the runs say.


localrules:
    all_claims,
    claims,


CLAIMING = [
    name
    for name in papers.NAMES
    if any(table.paper == name for table in PLAN.tables.values())
]


rule all_claims:
    """The claims of every paper that has a chosen table, each with its verdict."""
    input:
        [LAYOUT.claims / f"{paper}.html" for paper in CLAIMING],


rule claims:
    """One paper's claims as a page: verdict, difference with its interval, the runs behind it."""
    input:
        lambda w: awaited(
            dict.fromkeys(
                run
                for table in PLAN.tables.values()
                if table.paper == w.paper
                for run in table.runs
            )
        ),
    output:
        md=LAYOUT.claims / "{paper}.md",
        html=report(
            LAYOUT.claims / "{paper}.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"paper": "{paper}"},
        ),
    log:
        LAYOUT.results / "logs" / "claims" / "{paper}.log",
    conda:
        ENVIRONMENT
    params:
        content=lambda w: papers.load_paper(w.paper).claims_digest,
        rule=CONFIG.rule,
    shell:
        "python -m petvr claims {wildcards.paper:q} > {log:q} 2>&1"
