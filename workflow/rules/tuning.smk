# Synchronous successive halving as files: trials of a rung are jobs, a decision waits for all of them. Later rungs train
# slots ("the second best of the rung before"), not trials, so that the jobs are known before anything has run and no
# checkpoint of Snakemake is needed. Asked again for what is there, a job answers from its records without training.


localrules:
    tune_decide,


TUNING = LAYOUT.tuning("{paper}/{dataset}/{backbone}/{method}")


rule tune_trial:
    """Train a trial from where it stood to the end of a rung, and judge it on validation; a killed one continues."""
    input:
        weights=LAYOUT.weights("{backbone}") / "model.safetensors",
        frames=lambda w: catalogue.frame_store(CONFIG, study_of(w).run) / "index.json",
        manifest=LAYOUT.manifest("{dataset}"),
        rehearsal=verdict_first,
        before=lambda w: decision_before(w),
    output:
        TUNING / "rung-{rung}" / "{trial}.json",
    log:
        LAYOUT.log("tuning/{paper}/{dataset}/{backbone}/{method}/rung-{rung}-{trial}"),
    wildcard_constraints:
        rung="[0-9]+",
        trial="[0-9a-z-]+",
    conda:
        ENVIRONMENT
    threads: 1 if CONFIG.world is not None else 8
    resources:
        gpu=GPU,
        mem_mb=lambda w, attempt: attempt
        * rules_ask.train_megabytes(CONFIG, study_of(w).run),
        runtime=lambda w, attempt: attempt
        * rules_ask.train_minutes(CONFIG, study_of(w).run),
    params:
        cell=lambda w: study_of(w).cell,
        study=lambda w: w.trial if w.rung == "0" else study_of(w).digest(),
    shell:
        "python -m petvr tune trial {params.cell:q} --rung {wildcards.rung:q} --trial {wildcards.trial:q}"
        " --threads {threads} >> {log:q} 2>&1"


rule tune_decide:
    """Which trials of a rung go on; after the last one, what is chosen."""
    input:
        lambda w: decisions.awaited_records(LAYOUT, study_of(w), int(w.rung)),
    output:
        TUNING / "decision-{rung}.json",
    log:
        LAYOUT.log("tuning/{paper}/{dataset}/{backbone}/{method}/decision-{rung}"),
    wildcard_constraints:
        rung="[0-9]+",
    conda:
        ENVIRONMENT
    params:
        cell=lambda w: study_of(w).cell,
        study=lambda w: study_of(w).digest(),
    shell:
        "python -m petvr tune decide {params.cell:q} --rung {wildcards.rung:q} > {log:q} 2>&1"


rule tune_all:
    """The tuning of every cell that is tuned, and no final run; a lock spares none of it."""
    input:
        [
            decisions.last_decision_file(LAYOUT, study)
            for study in STUDIES.values()
            if study.run.dataset not in LEFT_OUT
        ],
    localrule: True


for name in catalogue.dataset_names(CONFIG):

    rule:
        """The tuning of one data set's cells."""
        name:
            f"tune_{name}"
        input:
            [
                decisions.last_decision_file(LAYOUT, study)
                for study in STUDIES.values()
                if study.run.dataset == name
            ],
        localrule: True
