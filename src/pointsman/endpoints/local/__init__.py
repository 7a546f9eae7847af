"""Models on the user's own machine: pulled with their hashes checked, run by one host for every process that asks."""

from .client import Lease, LocalHost
from .models import HUB, MODELS, PREFIX, HubFile, LocalModel, Packages, Source, find_model, installed
from .protocol import ModelStatus, Status
from .pull import Progress, Pulling, PullPlan, Refused, hub_reachable, plan, pull

__all__ = [
    "HUB",
    "MODELS",
    "PREFIX",
    "HubFile",
    "Lease",
    "LocalHost",
    "LocalModel",
    "ModelStatus",
    "Packages",
    "Progress",
    "PullPlan",
    "Pulling",
    "Refused",
    "Source",
    "Status",
    "find_model",
    "hub_reachable",
    "installed",
    "plan",
    "pull",
]
