# Whether this installation gives what the papers gave, asked before anything trains: `snakemake rehearsal`, and the first
# of all_tables unless the configuration says `rehearsal: skip`. A no stops there; the page says why and what to do.


localrules:
    rehearsal,


PARTS = LAYOUT.rehearsal / "parts"
CANARIES = rehearsed.canaries(CONFIG, PLAN)


for kind, like in (("train", "train"), ("frames", "frames_shard")):
    # a rule's partition, constraint and the like: --set-resources train:slurm_partition=long
    overwritten = workflow.resource_settings.overwrite_resources
    if like in overwritten and isinstance(overwritten, dict):
        overwritten.setdefault(f"rehearse_node_{kind}", overwritten[like])


rule rehearsal:
    """Go or no-go on one page. The page is no output: Snakemake would delete it after a no."""
    input:
        [PARTS / f"{part}.json" for part in rehearsed.part_names(CONFIG, PLAN)],
    output:
        touch(REHEARSED),
    log:
        LAYOUT.results / "logs" / "rehearsal" / "page.log",
    priority: 2
    conda:
        ENVIRONMENT
    params:
        anyway=CONFIG.rehearsal == "anyway",
    shell:
        "python -m petvr rehearse page > {log:q} 2>&1"


rule rehearse_weights:
    """Digest, geometry, numbers and tokenizer of a backbone."""
    input:
        LAYOUT.weights("{backbone}") / "model.safetensors",
    output:
        PARTS / "weights-{backbone}.json",
    log:
        LAYOUT.results / "logs" / "rehearsal" / "weights-{backbone}.log",
    priority: 2
    conda:
        ENVIRONMENT
    shell:
        "python -m petvr rehearse weights-{wildcards.backbone:q} --threads {threads} > {log:q} 2>&1"


rule rehearse_canary:
    """Zero-shot on one test set beside what is printed; its test videos are decoded where no store has them."""
    input:
        LAYOUT.weights(rehearsed.canary_backbone(CONFIG)) / "model.safetensors",
        lambda w: (
            [LAYOUT.manifest(CANARIES[w.dataset])]
            if CANARIES[w.dataset] not in LEFT_OUT
            else []
        ),
    output:
        PARTS / "canary-{dataset}.json",
    log:
        LAYOUT.results / "logs" / "rehearsal" / "canary-{dataset}.log",
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1 if CONFIG.world is not None else 8
    resources:
        gpu=GPU,
        mem_mb=2000 if CONFIG.world is not None else 64000,
        runtime=lambda w, attempt: attempt * 120,
    params:
        spec=lambda w: rehearsed.canary_spec(CONFIG, PLAN, w.dataset).digest(),
    shell:
        "python -m petvr rehearse canary-{wildcards.dataset:q} --threads {threads} > {log:q} 2>&1"


rule rehearse_shapes:
    """Every distinct model of the plan: two steps and an evaluation; what they take goes into the plan and the jobs."""
    input:
        [
            LAYOUT.weights(name) / "model.safetensors"
            for name in rehearsed.backbones(CONFIG, PLAN)
        ],
    output:
        PARTS / "shapes.json",
    log:
        LAYOUT.results / "logs" / "rehearsal" / "shapes.log",
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1 if CONFIG.world is not None else 8
    resources:
        gpu=GPU,
        mem_mb=2000 if CONFIG.world is not None else 64000,
        runtime=lambda w, attempt: attempt * 60,
    params:
        runs=rules_ask.digest(sorted(run.digest() for run in PLAN.runs.values())),
        micro_batch=CONFIG.micro_batch,
    shell:
        "python -m petvr rehearse shapes --threads {threads} > {log:q} 2>&1"


rule rehearse_room:
    """What will be written, against what is free."""
    input:
        PARTS / "shapes.json",
    output:
        PARTS / "room.json",
    log:
        LAYOUT.results / "logs" / "rehearsal" / "room.log",
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        "python -m petvr rehearse room > {log:q} 2>&1"


for kind in rehearsed.KINDS:

    rule:
        """What one small job with the resources of this kind sees of its machine and its disks."""
        name:
            f"rehearse_node_{kind}"
        output:
            PARTS / f"node-{kind}.json",
        log:
            LAYOUT.results / "logs" / "rehearsal" / f"node-{kind}.log",
        priority: 3
        conda:
            ENVIRONMENT
        threads: 1 if CONFIG.world is not None else 8
        resources:
            gpu=GPU if kind == "train" else 0,
            mem_mb=2000 if CONFIG.world is not None else 16000,
            runtime=15,
        params:
            part=f"node-{kind}",
        shell:
            "python -m petvr rehearse {params.part:q} --threads {threads} > {log:q} 2>&1"


AT_START.append(answer_jobs)
