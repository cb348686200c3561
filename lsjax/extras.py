"""Which extra of the package brings which module, for the message when one is missing."""

_EXTRAS = {
  "train": ("absl", "etils", "flax", "ml_collections", "orbax", "sklearn", "tqdm"),
  "data": ("PIL", "array_record", "grain", "requests", "tensorflow_datasets"),
  "tables": ("pandas", "pyarrow"),
  "report": ("matplotlib",),
}


def hint(error: ModuleNotFoundError) -> str:
  """Returns one line that says how to install the package that an import did not find.

  Raises:
    ModuleNotFoundError: the given error, if no extra brings that package.
  """
  package = (error.name or "").partition(".")[0]
  for extra, packages in _EXTRAS.items():
    if package in packages:
      return f"{package} is not installed; pip install 'lsjax[{extra}]' installs it"
  raise error
