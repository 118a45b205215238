"""A spec that somebody gives for an artefact that has its own."""

from __future__ import annotations

from edgepose.spec import PoseSpec

__all__ = ["overridden"]


def overridden(own: PoseSpec, given: PoseSpec | None) -> PoseSpec:
    """The spec in force: the given one, with the provenance that the artefact has itself.

    How an artefact is fed and read may be said anew, but not what its weights were trained on, and
    so not on which photos alone they may be measured.

    Args:
        own: What the artefact carries.
        given: What its user says, if anything.

    Returns:
        A spec that says ``holdout_only`` if either does.
    """
    if given is None:
        return own
    known, said = own.provenance, given.provenance
    return given.with_provenance(
        weights_sha256=known.weights_sha256 or said.weights_sha256,
        trained_on=known.trained_on or said.trained_on,
        holdout_only=known.holdout_only or said.holdout_only,
        measured=known.measured or said.measured,
    )
