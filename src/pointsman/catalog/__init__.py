"""What is known of models, providers and prices, as rows. The only room that knows the price library."""

from .cards import (
    TASKS,
    Capability,
    Kind,
    ListPrice,
    Modality,
    ModelCard,
    Offer,
    Profile,
    Rubric,
    StatedBy,
    Strength,
)
from .contents import Catalog, Niche, read_catalog, shipped_catalog
from .matrix import Marks, Measured, Row, Sort, parse_size, rows, select
from .prices import Coverage, PriceBook, PricedModel, Quote
from .providers import THIS_MACHINE, Deployment, DialectName, FreeTier, ModelQuirks, ProviderRow
from .rates import FREE, LongPrompt, Price, Rates, cost

__all__ = [
    "Capability",
    "Catalog",
    "Coverage",
    "Deployment",
    "DialectName",
    "FREE",
    "FreeTier",
    "Kind",
    "ListPrice",
    "LongPrompt",
    "Marks",
    "Measured",
    "Modality",
    "ModelCard",
    "ModelQuirks",
    "Niche",
    "Offer",
    "Price",
    "PriceBook",
    "PricedModel",
    "Profile",
    "ProviderRow",
    "Quote",
    "Rates",
    "Row",
    "Rubric",
    "Sort",
    "StatedBy",
    "TASKS",
    "THIS_MACHINE",
    "Strength",
    "cost",
    "parse_size",
    "read_catalog",
    "rows",
    "select",
    "shipped_catalog",
]
