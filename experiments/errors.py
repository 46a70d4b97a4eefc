"""What can go wrong in an experiment and is for its user to mend. Each is one clear line."""


class ExperimentError(Exception):
    """The experiment cannot go on; nothing half-written was taken for a result."""
