# The demo's data: generated videos and captions in the file formats of the real data sets; and how long it all takes.
from collections import Counter

from petvr.world import duration


def announce():
    jobs = Counter(job.rule.name for job in workflow.dag.needrun_jobs())
    seconds = dict.fromkeys(jobs, duration.OTHER) | duration.SECONDS
    # none where a cluster runs the jobs, as fast as it may be
    cores = workflow.resource_settings.cores
    text = duration.announcement(jobs, cores) if cores else f"{sum(jobs.values())} jobs"
    logger.info(
        text,
        extra={"progress": {"rule": "train", "noun": "runs", "seconds": seconds}},
    )


AT_START.append(announce)


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
        "python -m petvr world {wildcards.folder:q} --workers {threads} >> {log:q} 2>&1"
