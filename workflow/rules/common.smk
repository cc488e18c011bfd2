# The configuration, the plan, and the few functions the rules use. Nothing here imports torch.
#
# Data sets that cannot be had. Most sets can be downloaded, and a set that merely is not there yet is brought by rule
# `download` when something needs it. What cannot be had (no licence, every mirror refused for good, no such set in the
# demo's world) is found out here, from file names, the marks of earlier downloads and the environment alone: LEFT_OUT.
# Tables do not wait for such runs, their rows say `not run: <reason>`, and one line on stderr says so before anything
# starts and once more at the end. That is success, exit code 0, because configuration
# asks for it (unavailable: skip); with `unavailable: stop` the jobs stay and the first one fails with the same reason.
# What is asked for by name (a run's path, data_lsmdc) is never left out. A download that fails meanwhile is a failure,
# exit code 1: with --keep-going all else goes on, and tables that waited for it are built of what there is (onerror).
# A dry-run on a machine without any data set lists every job of the configuration: that is how one plans.
try:
    given = workflow.config_settings
    if workflow.modifier.path_modifier.replace_prefix("results") != "results":
        raise PetvrError(
            "module: prefix moves what Snakemake waits for, not what petvr writes; "
            "set `results` and `data` in the configuration instead"
        )
    if workflow.modifier.skip_configfile:  # a module: what its `config:` says
        LAYERS = read_layers([], config, "config of the module")
    else:
        # read anew, since Snakemake lets a key that stands twice pass; config.yaml first, then --configfile, then --config
        own = [file for file in workflow.configfiles if file not in given.configfiles]
        LAYERS = read_layers([*own, *given.configfiles], given.config)
    CONFIG = validate_config(LAYERS)
    PLAN = planning.plan(CONFIG)
    rules_ask.check_targets(CONFIG, PLAN, sys.argv[1:])
    # data set -> verdict, of those that no table waits for; and run -> why nobody waits for it
    LEFT_OUT = rules_ask.left_out(CONFIG, PLAN, workflow.output_settings.dryrun)
    STUDIES = studies(CONFIG, list(PLAN.runs.values()))  # cell -> what is tuned of it
    NOT_RUN = availability.not_run(CONFIG, PLAN, LEFT_OUT)
    if workflow.is_main_process and not workflow.output_settings.dryrun:
        workflow_start.require_dates(rules_ask.own_files(CONFIG, LEFT_OUT))
except PetvrError as error:
    print(f"petvr: error: {error}", file=sys.stderr)
    sys.exit(2)

LAYOUT = Layout(CONFIG.results)
DATA = CONFIG.data
GPU = 0 if CONFIG.world is not None else 1
AT_START = []  # functions called before the first job


def say(lines):
    for line in lines:
        print(line, file=sys.stderr)


if workflow.is_main_process:
    say(rules_ask.left_out_lines(PLAN, LEFT_OUT))
    say(rules_ask.few_judges_lines(CONFIG))
    if not workflow.output_settings.dryrun:
        say(workflow_start.start_lines(LAYOUT, PLAN))

environment.export(
    merged_values(LAYERS),
    CHECKOUT if CHECKOUT.is_dir() else None,
    DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method,
)
if workflow.is_main_process:
    environment.name_head()
ENVIRONMENT = "../../envs/petvr.yaml"  # of these files


wildcard_constraints:
    paper="[a-z0-9_]+",
    table="[a-z0-9_]+",
    figure="[a-z0-9_-]+([.][a-z]+)?",
    dataset="[a-z0-9-]+",
    folder="[a-z0-9]+",
    backbone="[a-z0-9-]+",
    method="[^/]+",
    seed="[0-9]+",
    sampler="[a-z0-9_]+",
    frames="[0-9]+",
    size="[0-9]+",
    picture="(-[a-z_]+)?",


def run_of(wildcards):
    """The spec of the run that the wildcards of rule `train` name."""
    w = wildcards
    return spec_of(
        CONFIG, f"{w.paper}/{w.dataset}/{w.backbone}/{w.method}/seed-{w.seed}", PLAN
    )


def study_of(wildcards):
    """The study of the cell that the wildcards of the tuning's rules name."""
    w = wildcards
    cell = f"{w.paper}/{w.dataset}/{w.backbone}/{w.method}"
    return rules_ask.study_named(CONFIG, PLAN, STUDIES, cell)


def tuning_first(run):
    """What a run whose values are tuned waits for: the lock, where its choice is committed, else the last decision."""
    return rules_ask.tuning_first(CONFIG, STUDIES, run)


def decision_before(wildcards):
    """The decision that a rung's slots are filled by."""
    before = int(wildcards.rung) - 1
    cell = study_of(wildcards).cell
    return [] if before < 0 else [decisions.decision_file(LAYOUT, cell, before)]


def frame_shards(wildcards):
    w = wildcards
    picture = w.picture.removeprefix("-") or "crop"
    return rules_ask.shard_indexes(
        CONFIG, w.folder, w.sampler, w.frames, w.size, picture
    )


def manifests(wildcards):
    """Those of all data sets that lie in the folder: both MSR-VTT splits read one store of frames."""
    names = catalogue.datasets_in(CONFIG, wildcards.folder)
    return [LAYOUT.manifest(name) for name in names]


def table_files(name):
    return [LAYOUT.table(name, suffix) for suffix in ("md", "tex", "csv", "html")]


EXAMPLES = shown.example_runs(PLAN)
VALIDATED = availability.validated_folders(PLAN, CONFIG)


def figure_files(wildcards):
    """Those that have at least one run which somebody waits for."""
    return [
        LAYOUT.figures / f"{name}.svg"
        for name in shown.figures(PLAN)
        if awaited(shown.figure_runs(PLAN, name))
    ]


def awaited(runs):
    """The results of the runs that can be made, in their order."""
    return [LAYOUT.result(run) for run in runs if run not in NOT_RUN]


def table_inputs(wildcards):
    name = f"{wildcards.paper}/{wildcards.table}"
    return rules_ask.table_inputs(CONFIG, PLAN, name, NOT_RUN)


def table_data(wildcards):
    name = f"{wildcards.paper}/{wildcards.table}"
    return rules_ask.table_data(CONFIG, PLAN, name, NOT_RUN)


def unfinished():
    """Tables of this call that still wait for a result."""
    jobs = [job for job in workflow.dag.jobs if job.rule.name in ("table", "track")]
    asked = {f"{job.wildcards.paper}/{job.wildcards.table}" for job in jobs}
    return rules_ask.unfinished_tables(CONFIG, PLAN, asked, NOT_RUN)


REHEARSED = LAYOUT.rehearsal / "go"
EVERYTHING = {"all_tables", "all_runs", "all_figures", "all_claims", "site"}


def verdict_first(wildcards):
    """What trains waits for the verdict where everything is asked for; one run asked for by name does not."""
    asked = set(workflow.dag_settings.targets) or {"all_tables"}
    everything = any(name.endswith(tuple(EVERYTHING)) for name in asked)
    waits = CONFIG.rehearsal != "skip" and everything
    return [ancient(REHEARSED)] if waits else []


def answer_jobs():
    """While this Snakemake lives, jobs on other machines are told when their files are seen here."""
    jobs = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if workflow.non_local_exec and any(
        name.startswith("rehearse_node") for name in jobs
    ):
        wait = workflow.execution_settings.latency_wait
        command = [sys.executable, "-m", "petvr", "rehearse", "--answer", str(wait)]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def forget_default_limit():
    """Of new jobs a second, on this machine. It makes Snakemake look at every waiting job each second, and once more a
    second for each job that has ended: after 160 of 602 runs that took a third of a core.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if (
        limit
        and (limit.max_jobs, limit.timespan) == (100, 1)
        and not workflow.non_local_exec
    ):
        workflow.scheduler.job_rate_limiter = None


AT_START.append(forget_default_limit)
