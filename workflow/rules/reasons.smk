# Snakemake says in words why it runs a job: which setting, file, line of code or package is another than before.

import json
import logging
from contextlib import suppress

from bld.pipeline.staleness import follows_from, in_words, own_causes
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


class InWords(logging.Filter):
    """Puts words where Snakemake has its reasons, and hands them to `snakemake stale` where that has asked."""

    jobs = {}

    def filter(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_INFO and workflow.is_main_process:
            # What is odd about something that was kept is no reason to stop.
            with suppress(Exception):
                self.put_words(record)
        return True

    def put_words(self, record):
        dag = workflow.dag
        if record.jobid not in self.jobs:
            self.jobs = {dag.jobid(job): job for job in dag.needrun_jobs()}
        job = self.jobs[record.jobid]
        reason = dag.reason(job)
        own, follows = own_causes(job, reason, workflow.persistence), follows_from(reason)
        record.reason = in_words(own, follows) or record.reason
        asked = os.environ.get("BLD_REASONS")
        if asked and not job.rule.norun:
            told = {"rule": job.rule.name, "of": list(job.wildcards_dict.values())}
            with open(asked, "a", encoding="utf-8") as file:
                print(json.dumps(told | {"own": own, "follows": follows}), file=file)


logger.addFilter(InWords())


def stale_settings():
    """What `snakemake stale` asks, and of which configuration."""
    command = snakemake_command("all") + ["--dry-run", "--nolock", "--rerun-incomplete"]
    # As text, since a step sorts its settings and the order of splits means something.
    return {"command": command, "configuration": json.dumps(config)}
