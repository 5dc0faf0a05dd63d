"""Print the rules of the workflow in a folder as JSON, as Snakemake has read them."""

import json
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

root = Path(sys.argv[1])
with SnakemakeApi(OutputSettings()) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(),
        config_settings=ConfigSettings(configfiles=[root / "config/config.yaml"]),
        snakefile=root / "Snakefile",
    )._get_workflow(check_envvars=False)
    workflow.include(root / "Snakefile", overwrite_default_target=True)
    rules = {
        rule.name: {
            "output": [str(path) for path in rule.output],
            "record": str(getattr(rule.output, "record", "")),
            "log": [str(path) for path in rule.log],
            "benchmark": rule.benchmark and str(rule.benchmark),
            "conda": rule.conda_env and Path(str(rule.conda_env)).name,
            "threads": rule.ruleinfo.threads,
            "params": list(rule.params.keys())
            + [None] * (len(rule.params) - len(rule.params.keys())),
            "shell": rule.shellcmd
            and rule.shellcmd.replace("{params.stage}", str(rule.params.get("stage"))),
        }
        for rule in workflow.rules
    }
    print(json.dumps(rules))
