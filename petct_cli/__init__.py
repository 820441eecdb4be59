"""petct: composable filters from hospital PET/CT and Vietnamese reports to a trained, honestly scored model."""

__version__ = "0.1.0"
