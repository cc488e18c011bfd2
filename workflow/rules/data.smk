# From what lies on disk to what training reads: weights, manifests, frames.


localrules:
    data,
    data_all,
    download,  # compute nodes often reach no network
    weights,  # from the hub, which compute nodes often cannot reach


# where only the weights themselves tell the size of the pictures they read
WEIGHTS_FIRST = catalogue.weights_first(
    CONFIG, (run.backbone for run in PLAN.runs.values())
)
FRAME_STORE = LAYOUT.frames_of("{folder}") / "{sampler}-{frames}f-{size}px{picture}"
FRAME_THREADS = 2 if CONFIG.world is not None else 8


rule weights:
    """A backbone as a canonical folder; the demo trains its tiny CLIP on still images of its world."""
    output:
        LAYOUT.weights("{backbone}") / "model.safetensors",
    log:
        LAYOUT.results / "logs" / "weights" / "{backbone}.log",
    priority: 1  # every run waits for it
    conda:
        ENVIRONMENT
    threads: 1  # the tiny CLIP is too small to gain from a second one
    params:
        source=lambda w: (
            CONFIG.world.tiny_clip.model_dump() | {"seed": CONFIG.world.seed}
            if CONFIG.world and w.backbone == "tiny"
            else CONFIG.weights.get(w.backbone)
        ),
    shell:
        "python -m petvr weights {wildcards.backbone:q} --threads {threads} >> {log:q} 2>&1"


rule download:
    """Bring what is not there of a data set. Nothing happens where `paths` names it or its files are there already."""
    output:
        touch(DATA / "{folder}" / "download.done"),
    log:
        LAYOUT.results / "logs" / "download" / "{folder}.log",
    conda:
        ENVIRONMENT
    params:
        # download.json tells what could not be had; it is no output, which Snakemake would delete after a failure
        paths=lambda w: [
            str(CONFIG.folder(w.folder)),
            str(CONFIG.videos(w.folder)),
            CONFIG.given(w.folder),
        ],
    shell:
        "python -m petvr download {wildcards.folder:q} --record --wait >> {log:q} 2>&1"


rule data:
    """Check a data set's annotation files and videos; the manifest says what is there."""
    input:
        lambda w: catalogue.manifest_inputs(CONFIG, w.dataset),
    output:
        LAYOUT.manifest("{dataset}"),
    log:
        LAYOUT.results / "logs" / "data" / "{dataset}.log",
    conda:
        ENVIRONMENT
    params:
        missing=CONFIG.missing,
        options=lambda w: CONFIG.options.get(w.dataset),
    shell:
        "python -m petvr data {wildcards.dataset:q} > {log:q} 2>&1"


rule frames:
    """Decode each video of a folder once. Only the index is declared: a killed job continues where it stopped.

    A large folder is decoded in shards, one job each; what is left to do here is then one index over them.
    """
    input:
        manifests,
        frame_shards,
        ancient(WEIGHTS_FIRST),
    output:
        FRAME_STORE / "index.json",
    log:
        LAYOUT.results
        / "logs"
        / "frames"
        / "{folder}-{sampler}-{frames}f-{size}px{picture}.log",
    conda:
        ENVIRONMENT
    threads: lambda w: 1 if frame_shards(w) else FRAME_THREADS
    resources:
        mem_mb=lambda w, attempt: attempt * 8000,
        runtime=lambda w, attempt: attempt * (60 if frame_shards(w) else 720),
    params:
        versions=catalogue.frame_versions(),
        validation=lambda w: w.folder in VALIDATED,
    shell:
        "python -m petvr frames {wildcards.folder:q} --sampler {wildcards.sampler:q} --frames {wildcards.frames:q}"
        " --size {wildcards.size:q} --picture={wildcards.picture:q} --workers {threads} --wait >> {log:q} 2>&1"


rule frames_shard:
    """Decode one shard of a folder's videos, next to the others; a killed one continues where it stopped."""
    input:
        manifests,
        ancient(WEIGHTS_FIRST),
    output:
        shards.shard_folder(FRAME_STORE, "{shard}", "{shards}") / "index.json",
    log:
        LAYOUT.results
        / "logs"
        / "frames"
        / "{folder}-{sampler}-{frames}f-{size}px{picture}-{shard}-of-{shards}.log",
    wildcard_constraints:
        shard="[0-9]+",
        shards="[0-9]+",
    conda:
        ENVIRONMENT
    threads: FRAME_THREADS
    resources:
        mem_mb=lambda w, attempt: attempt * 16000,
        runtime=lambda w, attempt: attempt * 240,
    params:
        versions=catalogue.frame_versions(),
        validation=lambda w: w.folder in VALIDATED,
    shell:
        "python -m petvr frames {wildcards.folder:q} --sampler {wildcards.sampler:q} --frames {wildcards.frames:q}"
        " --size {wildcards.size:q} --picture={wildcards.picture:q} --workers {threads} --shard {wildcards.shard:q}/{wildcards.shards:q}"
        " --wait >> {log:q} 2>&1"


rule data_all:
    """Manifests and frames of every data set of the configuration that can be had; no run."""
    input:
        lambda w: [
            file
            for name in catalogue.chosen_datasets(CONFIG)
            if name not in LEFT_OUT
            for file in rules_ask.dataset_files(CONFIG, PLAN, name)
        ],


for name in catalogue.dataset_names(CONFIG):

    rule:
        """Manifest and frames of one data set, asked for by name: nothing is left out, it fails where it must."""
        name:
            f"data_{name}"
        input:
            rules_ask.dataset_files(CONFIG, PLAN, name),
        localrule: True
