"""`python -m petvr.config`: the schema that editors read."""

import json

from petvr.config import Config

print(json.dumps(Config.model_json_schema(), indent=1))
