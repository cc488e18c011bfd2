# The demo's data: generated videos and captions in the file formats of the real data sets.


rule world:
    """Render one data set of the synthetic world."""
    output:
        DATA / "{folder}" / "world.json",
    log:
        LAYOUT.results / "logs" / "world" / "{folder}.log",
    conda:
        ENVIRONMENT
    threads: 1
    params:
        sizes=lambda w: CONFIG.world.model_dump()["sizes"].get(w.folder),
        seed=CONFIG.world.seed,
    shell:
        "python -m petvr world {wildcards.folder} --workers {threads} > {log} 2>&1"
