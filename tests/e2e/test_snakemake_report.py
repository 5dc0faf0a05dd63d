"""Snakemake's own report carries the figures of ours, with captions, categories and labels."""

import json
import zipfile


def embedded(page, name):
    """The value of a variable in the scripts of the page."""
    _, _, rest = page.partition(f"var {name} = {{")
    return json.JSONDecoder().raw_decode("{" + rest)[0]


def test_every_figure_is_in_snakemake_s_own_report_with_caption_and_heading(demo):
    demo.snakemake("--report", "report.zip")
    with zipfile.ZipFile(demo.folder / "report.zip") as archive:
        [name] = [name for name in archive.namelist() if name.endswith("report.html")]
        page = archive.read(name).decode()
    results = {path.split("/")[-1]: about for path, about in embedded(page, "results").items()}
    figures = {path.name for path in (demo.folder / "results/report").glob("*.svg")}
    assert len(figures) == 11
    assert results.keys() == figures | {"index.html"}
    assert all(len(results[name]["caption"]) > 80 for name in results)
    headings = {results[name]["labels"]["figure"] for name in figures}
    assert len(headings) == 11
    assert embedded(page, "categories").keys() == {"Figures", "Report"}
