# petvr's modules, and config.yaml looked at before Snakemake reads it, which would answer a file that is no text with a
# traceback. (A file of --configfile has been read by then.)
import shlex
import subprocess
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

CHECKOUT = (
    Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1] / "src"
)
if CHECKOUT.is_dir():  # else petvr is installed, and this file comes with it
    sys.path.insert(0, str(CHECKOUT))

try:
    from petvr import environment, papers, planning, workflow_start
    from petvr import workflow as rules_ask
    from petvr.data import availability, catalogue
    from petvr.config import merged_values, read_layers, validate_config
    from petvr.errors import PetvrError, without_secrets
    from petvr.data.frames import shards
    from petvr.library.video_files import shard_listing
    from petvr.layout import Layout
    from petvr.papers import shown
    from petvr.rehearsal import asked as rehearsed
    from petvr.run_ids import spec_of
    from petvr.tuning import decisions
    from petvr.tuning.study import studies
    from petvr.tuning.trials_report import best_lines
    from petvr.yaml_files import read_yaml_file
except ModuleNotFoundError as error:
    print(
        f"petvr: error: the Python of Snakemake has no {error.name}: pip install 'petvr[workflow]'",
        file=sys.stderr,
    )
    sys.exit(2)

try:
    # it may be left out where --configfile holds everything
    if Path("config.yaml").exists() and not workflow.modifier.skip_configfile:
        read_yaml_file(Path("config.yaml"))
    for profile in rules_ask.profile_files(sys.argv[1:]):
        read_yaml_file(profile)  # of a key that stands twice Snakemake takes the last
except PetvrError as error:
    print(f"petvr: error: {error}", file=sys.stderr)
    sys.exit(2)
