# Videos of one's own, encoded by a finished run to be searched: `indexes` in the configuration names them.


rule index_shard:
    """Encode a part of a folder's videos. Only the manifest is declared: what a killed job has done stays."""
    input:
        lambda w: rules_ask.index_model(CONFIG, PLAN, w.index),
    output:
        shards.shard_folder(LAYOUT.index("{index}"), "{shard}", "{shards}")
        / "index.json",
    log:
        LAYOUT.results / "logs" / "indexes" / "{index}-{shard}-of-{shards}.log",
    wildcard_constraints:
        index="[a-z0-9]+",
        shard="[0-9]+",
        shards="[0-9]+",
    conda:
        ENVIRONMENT
    threads: FRAME_THREADS
    resources:
        gpu=0 if CONFIG.world is not None else 1,
        mem_mb=lambda w, attempt: attempt * 16000,
        runtime=lambda w, attempt: attempt * 240,
    params:
        videos=lambda w: CONFIG.indexes[w.index].videos,
        model=lambda w: CONFIG.indexes[w.index].model,
        sentences=lambda w: [
            word
            for file in [CONFIG.indexes[w.index].sentences]
            if file
            for word in ("--sentences", file)
        ],
        to=lambda w: LAYOUT.index(w.index),
        # what has come, gone or changed in it
        listing=lambda w: shard_listing(
            CONFIG.indexes[w.index].videos, (int(w.shard), int(w.shards))
        ),
    shell:
        "python -m petvr encode {params.videos:q} --model {params.model:q} --to {params.to:q}"
        " --shard {wildcards.shard:q}/{wildcards.shards:q} --workers {threads} {params.sentences:q} >> {log:q} 2>&1"


rule index_joined:
    """One index over the shards; nothing is copied."""
    input:
        lambda w: rules_ask.index_shards(CONFIG, w.index),
    output:
        LAYOUT.index("{index}") / "index.json",
    log:
        LAYOUT.results / "logs" / "indexes" / "{index}.log",
    wildcard_constraints:
        index="[a-z0-9]+",
    conda:
        ENVIRONMENT
    params:
        videos=lambda w: CONFIG.indexes[w.index].videos,
        to=lambda w: LAYOUT.index(w.index),
        shards=lambda w: CONFIG.indexes[w.index].shards,
    shell:
        "python -m petvr encode {params.videos:q} --to {params.to:q} --join {params.shards:q} >> {log:q} 2>&1"


for name in CONFIG.indexes:

    rule:
        """The index of one folder of videos."""
        name:
            f"index_{name}"
        input:
            LAYOUT.index(name) / "index.json",
        localrule: True
