# One run, one job, one result.json. The spec's digest is the only parameter: a changed recipe value, setting or
# VERSION trains again, a changed comment does not. What tuning chooses is not in it: that is an input.


rule train:
    """Train and evaluate one run; checkpoints live in results/state, so that a killed job continues."""
    input:
        weights=LAYOUT.weights("{backbone}") / "model.safetensors",
        frames=lambda w: catalogue.frame_store(CONFIG, run_of(w)) / "index.json",
        manifest=LAYOUT.manifest("{dataset}"),
        rehearsal=verdict_first,
        tuned=lambda w: tuning_first(run_of(w)),
    output:
        LAYOUT.result("{paper}/{dataset}/{backbone}/{method}/seed-{seed}"),
    log:
        LAYOUT.log("{paper}/{dataset}/{backbone}/{method}/seed-{seed}"),
    conda:
        ENVIRONMENT
    threads: 1 if CONFIG.world is not None else 8
    resources:
        gpu=GPU,
        mem_mb=lambda w, attempt: attempt * rules_ask.train_megabytes(CONFIG, run_of(w)),
        runtime=lambda w, attempt: attempt * rules_ask.train_minutes(CONFIG, run_of(w)),
    params:
        run="{paper}/{dataset}/{backbone}/{method}/seed-{seed}",
        spec=lambda w: run_of(w).protocol_digest(),
    shell:
        "python -m petvr train {params.run:q} --spec {params.spec:q} --threads {threads} --wait >> {log:q} 2>&1"
