"""What reason codes, findings and warnings mean, in plain words, and what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """A short title, what happened, and what to do."""

    title: str
    meaning: str
    remedy: str


UNKNOWN = Words(
    "Reason without an explanation",
    "This report does not know the code: it comes from a plugin or another version.",
    "Read the messages of the pages below.",
)

REASONS: Mapping[str, Words] = {
    # Recognising the page
    "format-not-found": Words(
        "No format fits",
        "No installed format has its leads where this page has them: the page comes from another "
        "machine or has another layout, or is no ECG.",
        "Look at the pictures. Pages of one machine: describe them once with "
        "`ecgvision formats propose PAGE -o acme.toml` and convert them with "
        "`--format custom --layout acme.toml`. Covers and letters can stay refused.",
    ),
    "format-ambiguous": Words(
        "Two formats fit",
        "Two formats or layouts fit the page equally well. Guessing could exchange leads.",
        "Convert these files with the `--format` of the machine that they come from.",
    ),
    "style-not-published": Words(
        "No published style",
        "The layout is none of those that the study published an image for.",
        "Convert these files with `--style canonical`.",
    ),
    "layout-impossible": Words(
        "Impossible layout",
        "The numbers of a layout contradict each other on this page.",
        "Check the layout file with `ecgvision formats check`.",
    ),
    "plugin-broken": Words(
        "A format broke",
        "The plugin of a format raised an error or gave something that cannot be.",
        "Update the plugin or tell its maker; convert with another `--format` meanwhile.",
    ),
    # Scale and quality
    "calibration-conflict": Words(
        "Scale contradicts itself",
        "Printed text, grid and calibration pulse of the page tell different scales, and there is "
        "no majority.",
        "Look at the page. Where the scale is known, give it with `--speed` and `--gain`.",
    ),
    "quality-refused": Words(
        "Signals refused",
        "The signals that were read break what must hold for any ECG. The image was written, the "
        "signals were withheld.",
        "Look at the pages with `--qc`. `--min-quality refused` writes the signals all the same.",
    ),
    "quality-too-low": Words(
        "Signals too doubtful",
        "The signals are worse than `--min-quality` asked for. The image was written, the signals "
        "were withheld.",
        "Look at the pages with `--qc`, or lower `--min-quality`.",
    ),
    # Files
    "file-missing": Words(
        "File gone",
        "The file vanished between the search of its folder and its turn, or was never there.",
        "Check that nothing moves or deletes files, and run the command again.",
    ),
    "file-unreadable": Words(
        "File cannot be read",
        "The system did not let the file be read, or gave an error in the middle.",
        "Check permissions and the disk or network share, and run the command again.",
    ),
    "file-changed": Words(
        "File changed while it was read",
        "The file was written to during its conversion.",
        "Wait until it is whole, and run the command again.",
    ),
    "file-empty": Words(
        "Empty file",
        "The file has 0 bytes: an export or a copy went wrong.",
        "Export or copy it again.",
    ),
    "file-too-large": Words(
        "File too large",
        "The file has, or says that it has, more bytes or pages than any report.",
        "Look at what it is; split a file of many reports.",
    ),
    "file-unreachable": Words(
        "Store did not give the file",
        "The store that the file lies in did not answer, or broke off.",
        "Check the network and the store, and run the command again.",
    ),
    "file-name-unusable": Words(
        "Name that is no path",
        "The name of the object has a part that is empty, or made of dots only.",
        "Rename it in its store.",
    ),
    "file-type-unknown": Words(
        "Not a report",
        "By its content the file is no PDF, PNG, JPEG, TIFF or BMP, whatever its name says.",
        "Export the report as PDF or as an image.",
    ),
    "file-is-directory": Words(
        "Folder instead of a file",
        "A folder has the name of a report.",
        "Name the files inside it.",
    ),
    "folder-unreadable": Words(
        "Folder cannot be listed",
        "The system did not let this folder be searched: its reports are missing here.",
        "Check its permissions, and run the command again.",
    ),
    "pdf-encrypted": Words(
        "PDF asks for a password",
        "The PDF does not open without a password.",
        "Save copies without a password.",
    ),
    "pdf-damaged": Words(
        "Damaged PDF",
        "The PDF stops early or its index is broken, so that pages or parts of them may be lost.",
        "Export or copy it again.",
    ),
    "pdf-no-pages": Words(
        "PDF without pages",
        "The PDF has no page.",
        "Export it again.",
    ),
    "image-damaged": Words(
        "Damaged image",
        "The image stops early or cannot be decoded.",
        "Scan, export or copy it again.",
    ),
    "page-damaged": Words(
        "Damaged page",
        "Parts of this page cannot be drawn. The other pages of the file were converted.",
        "Export or copy the file again.",
    ),
    "page-missing": Words(
        "Page does not exist",
        "The file has fewer pages than it said.",
        "Export it again.",
    ),
    "page-empty-size": Words(
        "Page without a size",
        "The page's width or height is 0 or missing.",
        "Export it again.",
    ),
    "page-too-large": Words(
        "Page too large",
        "The page has more pixels than can be worked on: a wrong size or resolution, or a file "
        "made to fill memory.",
        "Check the size that the file declares, or scan it again at 300 dpi.",
    ),
    "page-too-complex": Words(
        "Page too complex",
        "The page has so many lines, words or layers that reading it would take minutes.",
        "Print the page to a picture of 300 dpi and convert that.",
    ),
    "renderer-missing": Words(
        "Renderer missing",
        "The program that was to draw PDF pages is not installed.",
        "Install poppler, or leave `--renderer` out.",
    ),
    # The run
    "worker-crashed": Words(
        "Crashed twice",
        "Reading the file ended the process that did it, and again when it was tried alone.",
        "Keep the file apart and report it if you may pass it on; the cause lies in a library.",
    ),
    "timed-out": Words(
        "Took too long",
        "The file was not done in its time, nor when it was tried alone.",
        "Check its size and number of pages; give more time with `--timeout`.",
    ),
    "memory-exceeded": Words(
        "Took too much memory",
        "The file needed more memory than a worker may use, also when it was tried alone.",
        "Check the size of its pages; give more with `--memory`.",
    ),
    "internal": Words(
        "Error in the program",
        "Something happened that the program was not made for.",
        "Convert the file alone with `--debug` and report what it prints.",
    ),
    # Outputs
    "output-exists": Words(
        "Output exists",
        "A file of the output's name exists, which this run did not write or wrote with other "
        "options.",
        "Choose another folder with `-o`, or replace it with `--force`.",
    ),
    "output-clash": Words(
        "Two files, one output",
        "Another input would write files of the same names.",
        "Rename one of them, or convert them to different folders.",
    ),
    "output-is-input": Words(
        "Output would replace an input",
        "The output would be written over a file that is to be converted.",
        "Choose another folder with `-o`.",
    ),
    "output-unwritable": Words(
        "Output cannot be written",
        "The system did not take the file: no space, no permission, or a name that is too long.",
        "Check space and permissions of the output folder, and run the command again.",
    ),
    # Signal files
    "signals-unwritable": Words(
        "Signals cannot be named",
        "File, format or layout have a name that a signal file cannot have.",
        "Rename the file, or choose another kind with `--signals`.",
    ),
    "signal-out-of-range": Words(
        "Signal out of range",
        "A voltage is larger than the kind of file can hold.",
        "Look at the page with `--qc`; npz and csv hold any voltage.",
    ),
    "recording-empty": Words(
        "No signal to write",
        "No lead of the page could be read.",
        "Look at the page with `--qc`.",
    ),
    "recording-impossible": Words(
        "Signals contradict themselves",
        "The signals have times or leads that a file cannot hold.",
        "Look at the page with `--qc` and report it.",
    ),
    "dicom-limits": Words(
        "Too much for DICOM",
        "The DICOM standard allows fewer samples, leads or a narrower range than the page has.",
        "Lower `--fs`, or choose another kind with `--signals`.",
    ),
}

QUALITY: Mapping[str, str] = {
    "limb-equations-broken": "Limb leads contradict each other",
    "leads-swapped": "Two leads look exchanged",
    "layout-off-by-a-row": "Signals look one row off",
    "limb-leads-reversed": "Electrodes look reversed",
    "chest-leads-swapped": "Chest leads look exchanged",
    "strip-gain": "Rhythm strip larger or smaller than its lead",
    "strip-unlike-lead": "Rhythm strip unlike its lead",
    "beats-not-aligned": "Beats of a row stand apart",
    "flat-lead": "Flat lead",
    "clipped": "Clipped lead",
    "peaks-cut": "Peaks cut off in the reading",
    "jump": "Step in a lead",
    "lead-missing": "Lead missing",
    "coverage-low": "Part of a lead unread",
    "mostly-unread": "Most of the page unread",
    "amplitude-too-small": "Amplitude too small",
    "amplitude-too-large": "Amplitude too large",
    "no-beats": "No beats",
    "rate-implausible": "Heart rate implausible",
    "speed-implausible": "Paper speed implausible",
    "calibration-disagrees": "A source of the scale disagrees",
    "gain-unlike-format": "Gain unlike the format's",
    "speed-unlike-format": "Paper speed unlike the format's",
    "scale-sources-disagree": "Sources of the scale disagree",
    "rows-shifted": "Rows moved by up to 20 ms",
    "arrangement-unchecked": "Arrangement not checked",
    "calibration-text-unclear": "Printed scale unclear",
    "lead-incomplete": "Lead incomplete in the image",
    "lead-clipped": "Lead leaves its box in the image",
    "beats-fewer": "Fewer beats than asked for",
    "beats-cut": "Beat cut at the edge",
    "chest-gain-in-image": "Chest leads at another gain in the image",
    "plugin-broken": "A format broke on the page",
}
"""Titles of findings and warnings by code; see docs/quality.md."""


def explained(code: str) -> Words:
    """The words for a reason code; those for an unknown one where it has none."""
    return REASONS.get(code, UNKNOWN)
