"""A recording as a DICOM 12-Lead ECG Waveform object (PS3.3 A.34.3).

The object is a derived waveform without a patient: what DICOM asks for and a digitised page does
not give is empty where the standard lets it be. Three times it must not be empty; `NO_DATE` says
what stands there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid
from pydicom.valuerep import DSfloat

from ecgvision import __version__
from ecgvision.writers.common import (
    NOT_A_VALUE,
    WriterError,
    box_lines,
    channel_names,
    microvolts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import Recording

NO_DATE = "19000101"
"""Stands in Acquisition DateTime, Content Date and Content Time (midnight), all of type 1.

The page's date is not read and the time of writing must not change the file. That the dates are
none is said by Longitudinal Temporal Information Modified (0028,0303) = REMOVED.
"""

# PS3.3 A.34.3.4, the limits of this kind of object.
_FS_HZ = (200.0, 1000.0)
_MOST_SAMPLES = 16384
_MOST_CHANNELS = 13

# PS3.16 CID 3001 "ECG Lead": ISO/IEEE 11073-10101, which DICOM calls MDC. The code and its meaning.
_LEAD_CODES = {
    "I": ("2:1", "Lead I"),
    "II": ("2:2", "Lead II"),
    "III": ("2:61", "Lead III"),
    "aVR": ("2:62", "aVR, augmented voltage, right"),
    "aVL": ("2:63", "aVL, augmented voltage, left"),
    "aVF": ("2:64", "aVF, augmented voltage, foot"),
    "V1": ("2:3", "Lead V1"),
    "V2": ("2:4", "Lead V2"),
    "V3": ("2:5", "Lead V3"),
    "V4": ("2:6", "Lead V4"),
    "V5": ("2:7", "Lead V5"),
    "V6": ("2:8", "Lead V6"),
}


def dicom_bytes(recording: Recording, details: Sequence[str] = ()) -> bytes:
    """The DICOM file: twelve leads as one multiplex group, rhythm strips as a second.

    Samples are signed 16-bit with 1 microvolt a unit; padding stands for NaN. Waveform annotations
    say of each printed box how it was read, then give `details`. All UIDs follow from the content.

    Raises `WriterError` where the recording is outside the limits of the standard.
    """
    _check_limits(recording)
    samples = microvolts(recording)
    boxes = box_lines(recording)
    notes = [*(line for _, line in boxes), *details]
    instance_uid = _uid("instance", samples, recording, notes)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    found = FileDataset(file, Dataset(), file_meta=meta, preamble=b"\0" * 128)
    _identify(found, instance_uid)
    found.StudyInstanceUID = _uid("study", samples, recording, notes)
    found.SeriesInstanceUID = _uid("series", samples, recording, notes)
    names, leads = channel_names(recording), (*recording.leads, *recording.rhythm_leads)
    groups = [slice(0, 12), slice(12, None)] if len(samples) > 12 else [slice(0, 12)]
    found.WaveformSequence = [
        _group(samples[group], leads[group], names[group], recording.fs_hz, label)
        for group, label in zip(groups, ("12 LEADS", "RHYTHM STRIPS"), strict=False)
    ]
    if notes:
        of_channels = [_channel_numbers(name, names) for name, _ in boxes]
        of_all = [number for group in range(1, len(groups) + 1) for number in (group, 0)]
        of_channels += [of_all] * len(details)
        found.WaveformAnnotationSequence = list(map(_annotation, notes, of_channels))
    found.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _check_limits(recording: Recording) -> None:
    strips, samples = recording.rhythm_mv.shape
    if not _FS_HZ[0] <= recording.fs_hz <= _FS_HZ[1]:
        expected, found = "200 to 1000 Hz", f"{recording.fs_hz:g} Hz"
        hint = "sample the signals at another rate, 500 Hz say"
    elif not 1 <= samples <= _MOST_SAMPLES:
        expected, found = f"1 to {_MOST_SAMPLES} samples a channel", f"{samples}"
        hint = "sample at a lower rate, or write NPZ, CSV or WFDB"
    elif strips > _MOST_CHANNELS:
        expected, found = f"at most {_MOST_CHANNELS} rhythm strips", f"{strips}"
        hint = "write NPZ, CSV or WFDB"
    else:
        return
    raise WriterError(
        "dicom-limits", expected=f"{expected} (DICOM PS3.3 A.34.3)", found=found, hint=hint
    )


def _uid(of: str, samples: NDArray[np.int16], recording: Recording, notes: Sequence[str]) -> UID:
    """A UID that follows from what the object holds: another content, another UID."""
    digest = hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
    channels = " ".join(channel_names(recording))
    entropy = [of, __version__, digest, channels, repr(float(recording.fs_hz)), *notes]
    return generate_uid(entropy_srcs=entropy)


def _identify(found: Dataset, instance_uid: UID) -> None:
    """The modules that say what the object is; the patient and the study stay empty."""
    found.SpecificCharacterSet = "ISO_IR 192"
    found.SOPClassUID = TwelveLeadECGWaveformStorage
    found.SOPInstanceUID = instance_uid
    for empty in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    ):
        setattr(found, empty, "")
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "digitised traces; nothing else of the page is kept"
    found.LongitudinalTemporalInformationModified = "REMOVED"
    found.Modality = "ECG"
    found.SeriesNumber = "1"
    found.SeriesDescription = "ECG digitised from a page; its date is not known"
    found.Manufacturer = "ecgvision"
    found.SoftwareVersions = __version__
    found.InstanceNumber = "1"
    found.AcquisitionDateTime = f"{NO_DATE}000000"
    found.ContentDate = NO_DATE
    found.ContentTime = "000000"
    found.AcquisitionContextSequence = []


def _group(
    samples: NDArray[np.int16], leads: Sequence[str], names: Sequence[str], fs_hz: float, label: str
) -> Dataset:
    """One multiplex group: (channels, n) samples, one after the other in time."""
    group = Dataset()
    group.MultiplexGroupTimeOffset = "0"
    group.WaveformOriginality = "DERIVED"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = samples.shape
    group.SamplingFrequency = DSfloat(fs_hz, auto_format=True)
    group.MultiplexGroupLabel = label
    group.ChannelDefinitionSequence = [
        _channel(lead, name) for lead, name in zip(leads, names, strict=True)
    ]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.add_new("WaveformPaddingValue", "OW", np.array(NOT_A_VALUE, dtype="<i2").tobytes())
    group.add_new("WaveformData", "OW", samples.T.astype("<i2").tobytes())
    return group


def _channel(lead: str, name: str) -> Dataset:
    channel = Dataset()
    channel.ChannelLabel = name
    channel.ChannelSourceSequence = [_code(*_LEAD_CODES[lead], "MDC")]
    channel.ChannelSensitivity = "0.001"
    channel.ChannelSensitivityUnitsSequence = [_code("mV", "millivolt", "UCUM")]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    channel.ChannelDerivationDescription = "digitised from a printed page"
    return channel


def _code(value: str, meaning: str, scheme: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _channel_numbers(name: str, names: Sequence[str]) -> list[int]:
    """Group and channel, both counted from 1; channel 0 means a whole group (PS3.3 C.10.10)."""
    number = names.index(name) if name in names else -1
    return [1, number + 1] if number < 12 else [2, number - 11]


def _annotation(text: str, channels: list[int]) -> Dataset:
    annotation = Dataset()
    annotation.UnformattedTextValue = text
    annotation.ReferencedWaveformChannels = channels
    return annotation
