# Byte-level distillation, from documents to a report, an archive and model cards.
#
# Files are named by what they hold: {model}, {teacher}, {student}, {corpus} and {run} are entries
# of the configuration, {split} is a part of a corpus and {shard} one of its files. Every folder has
# a manifest.json, which is what rules name.

from snakemake.utils import min_version

min_version("9.0")


# A configuration given with --configfile replaces the embedded default; it is not laid over it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/alignments.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/archive.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/stale.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        REPORT,
        SELECTION.crates,
        SELECTION.cards,
    localrule: True


share_jobs(workflow)
use_executors(workflow)


onsuccess:
    if any(job.rule.name == "all" for job in workflow.dag.jobs):
        print(f"\nThe report: {os.path.abspath(REPORT)}")
        for crate in SELECTION.crates:
            print(f"The archive: {os.path.abspath(crate)}")


onerror:
    report_so_far(workflow, TARGETS, config)
