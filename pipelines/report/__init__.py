"""`tagcorpus report`: an output folder as one HTML file that can be read offline, sent and published.

Data flows one way: `contents` reads the folder into a `Contents`, each of SECTIONS makes a part of the page from it, and `page`
puts the parts together. Equal folders with equal inputs give equal bytes.

A section is a function that takes the `Contents` and returns a `Section` (id, title, HTML), or None if the folder has
nothing for it. To add one, write `sections/NAME.py` and put the function where it belongs in SECTIONS. `sections/html.py` has
tables, bars, figures and shell lines. The room whose results the section shows must lie below `report` in tests/test_rooms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.progress.amounts import counted, size
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.progress.heartbeat import errors_as_damage
from tagcorpus.pipelines.report.contents.contents import Contents, gather
from tagcorpus.pipelines.report.contents.trained import Trained
from tagcorpus.pipelines.report.mixing.fitted import fit_section
from tagcorpus.pipelines.report.mixing.mix_shares import mixes_section
from tagcorpus.pipelines.report.mixing.model_losses import losses_section
from tagcorpus.pipelines.report.page import BEGINNING, check_library, page
from tagcorpus.pipelines.report.sections.agreement import agreement_section
from tagcorpus.pipelines.report.sections.audit import audit_section
from tagcorpus.pipelines.report.sections.comparison import comparison_section
from tagcorpus.pipelines.report.sections.distributions import distributions_section
from tagcorpus.pipelines.report.sections.domains import domains_section
from tagcorpus.pipelines.report.sections.entropy import entropy_section
from tagcorpus.pipelines.report.sections.features import features_section
from tagcorpus.pipelines.report.sections.html import Section, text
from tagcorpus.pipelines.report.sections.models import models_section
from tagcorpus.pipelines.report.sections.prediction import prediction_section
from tagcorpus.pipelines.report.sections.runs import runs_section, unusable_rows
from tagcorpus.pipelines.runs.made_from import made_from
from tagcorpus.pipelines.storage import remote
from tagcorpus.pipelines.storage.outputs import begins_with, check_file

# In the order of the page.
SECTIONS: tuple[Callable[[Contents], Section | None], ...] = (
    distributions_section,
    features_section,
    domains_section,
    agreement_section,
    audit_section,
    comparison_section,
    entropy_section,
    models_section,
    prediction_section,
    mixes_section,
    losses_section,
    fit_section,
    runs_section,
)


def report(output: str, file: str | None = None, seed: int = 0, storage_options: Sequence[str] = ()) -> str:
    """Write the page of an output folder, by default as `report.html` in it. Returns the text that the command prints.

    storage_options  K=V of the filesystem of URLs
    Raises InputError if `output` is not an output folder, ConfigError without plotly or if `file` does not end in .html, and
    OutputError if the page cannot be written.
    """
    if file is not None and not file.lower().endswith((".html", ".htm")):
        raise ConfigError(f"--output {file}: the report is one HTML page. Name a file that ends in .html")
    check_library()
    remote.use_given(storage_options, [output, file or ""])
    place = check_file(file or f"{output.rstrip('/')}/report.html", begins_with(BEGINNING.encode()), "is not a report")
    folder, name = place
    origin = None if file is None else made_from(folder, name, {"DIR": [output]})  # report.html in DIR is always of DIR
    with errors_as_damage(output):
        contents = gather(output, seed)
        data = render(contents)
    if origin is not None:
        if origin.note:
            Display().say(origin.note)
        origin.publish()
    folder.publish(name, data)
    return "\n".join([*contents.notes, f"{folder.path(name)}  {size(len(data))}"])


def render(contents: Contents) -> bytes:
    """The page."""
    sections = [s for s in (make(contents) for make in SECTIONS) if s is not None]
    return page(contents.output.name, _introduction(contents), sections, {"tagcorpus": tagcorpus.__version__})


def _introduction(contents: Contents) -> str:
    """The line below the title, as HTML."""
    output = contents.output
    if not output.is_of_pipeline:
        return text(_of_trained(output.trained))
    rows = f"{counted(output.rows, 'row')} of {counted(len(output.files), 'file')}"
    line = (
        f"{counted(output.totals()['documents'], 'document')} from {rows}, {counted(len(output.instances), 'tagger')}"
    )
    newest = output.runs[-1].command.get("started", "") if output.runs else ""
    line += f"; last run {newest[:16].replace('T', ' ')}" if newest else ""
    unusable = unusable_rows(output)
    link = f' <a href="#runs">{counted(unusable, "row")} could not be used.</a>' if unusable else ""
    return f"{text(line)}.{link}"


def _of_trained(trained: Trained) -> str:
    numbers = ((len(trained.mixes), "mix"), (len(trained.models), "trained model"), (len(trained.fits), "fit"))
    line = ", ".join(f"{n:,} mixes" if noun == "mix" and n != 1 else counted(n, noun) for n, noun in numbers if n)
    if trained.damaged:
        line += f"{'; ' if line else ''}damaged and left out: {', '.join(trained.damaged)}"
    return f"{line}."
