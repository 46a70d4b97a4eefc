"""What makes a book prove itself: derivations that check themselves, claims with verdicts, their pages."""

__version__ = "0.1.0"
