"""What this machine can do with edgepose, and what to do about what it cannot."""

from edgepose.doctor.finding import PURPOSES, Finding, Level, Purpose
from edgepose.doctor.report import Report, examine
from edgepose.doctor.system import System

__all__ = ["PURPOSES", "Finding", "Level", "Purpose", "Report", "System", "examine"]
